"""Questions about the built-in sample's pictures, answered from what scenes.json records of each."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from clipknight.data.questions import OR
from clipknight.files import atomic_file
from clipknight.sample.captions import COLOUR_WORDS, add_s, pick
from clipknight.sample.world import THINGS

import numpy as np
import pandas as pd

COLUMNS = ["image", "question", "answer", "kind"]  # of what is written


def questions_about(scenes: Sequence[dict], images: str, seed: int = 0) -> pd.DataFrame:
    """A question of each kind for each scene, in rows of image, question, answer, kind, split.

    `images` is the pictures' folder. An answer has all the words that the sample's captions may use, parted by OR. A
    scene without colours has no question of that kind. Half of the yes/no questions, by draw, ask for what is not
    there; it is drawn among what other scenes hold, as often as they hold it, so that the thing alone tells nothing.
    """
    draw = np.random.default_rng([seed, 3])
    held = [thing["name"] for scene in scenes for thing in scene["objects"]]
    rows = []
    for scene in scenes:
        file = f"{images}/{scene['file']}"
        for kind, question, answers in _of_scene(draw, scene["objects"], held):
            rows.append((file, question, OR.join(answers), kind, scene["split"]))
    return pd.DataFrame(rows, columns=[*COLUMNS, "split"])


def write_questions(scenes: Sequence[dict], images: str, folder: str | Path, seed: int = 0) -> None:
    """A CSV of image,question,answer,kind for each split, and a line about each: what answer.py reads.

    FileExistsError for a file of such a name that holds anything but questions about pictures in `images`.
    """
    rows = questions_about(scenes, images, seed)
    parts = {Path(folder) / f"{split}.csv": part[COLUMNS] for split, part in rows.groupby("split", sort=False)}
    for path in parts:
        if path.exists() and not _asks_about(path, images):
            raise FileExistsError(f"{path} holds no questions about {images}: move it, or choose another --questions")
    for path, part in parts.items():
        with atomic_file(path) as file:
            part.to_csv(file, index=False)
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in Counter(part["kind"]).items())
        print(f"{path.stem}: {len(part):,} questions ({kinds})")
    print(f"-> {folder}")


def _asks_about(path: Path, images: str) -> bool:
    """Whether a file is a table as `write_questions` writes it, of the pictures in a folder."""
    try:
        rows = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (ValueError, OSError):  # no table, or a folder
        return False
    return list(rows) == COLUMNS and rows["image"].str.startswith(f"{images}/").all()


def _of_scene(draw: np.random.Generator, things: list[dict], held: list[str]) -> Iterator[tuple[str, str, tuple]]:
    """(kind, question, answers) about one of the things, by draw."""
    thing, *others = [things[i] for i in draw.permutation(len(things))]
    nouns = THINGS[thing["name"]].nouns
    if thing["colour"]:
        verb = "is" if thing["count"] == 1 else "are"
        answers = COLOUR_WORDS.get(thing["colour"], (thing["colour"],))
        yield "colour", f"What colour {verb} the {_noun(thing)}?", answers
    yield "count", f"How many {add_s(nouns[0])} are there in the picture?", (str(thing["count"]),)
    besides = f" besides the {_noun(others[0])}" if others else ""
    yield "object", f"What is in the picture{besides}?", (*nouns, *map(add_s, nouns))
    there = draw.random() < 0.5
    absent = [name for name in held if name not in {thing["name"] for thing in things}]
    noun = nouns[0] if there else THINGS[pick(draw, absent)].nouns[0]
    article = "an" if noun[0] in "aeiou" else "a"
    yield "yes/no", f"Is there {article} {noun} in the picture?", ("yes" if there else "no",)


def _noun(thing: dict) -> str:
    noun = THINGS[thing["name"]].nouns[0]
    return noun if thing["count"] == 1 else add_s(noun)
