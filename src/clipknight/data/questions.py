"""Files of questions about images, and how many of them are answered rightly, by kind."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from clipknight.data.delimited import read_delimited
from clipknight.data.media_sources import find_media
from clipknight.data.videos import is_video
from clipknight.messages import a_few
from clipknight.paths import existing

import pandas as pd

OR = "|"  # parts the answers that are right for one question
EVERY = "all"
NEEDED = ("image", "question")
NUMBERS = "zero one two three four five six seven eight nine ten".split()


def read_questions(path: str | Path) -> pd.DataFrame:
    """Rows of image, question, kind (EVERY where the table has none) and, where it has them, answer.

    FileNotFoundError; ValueError for a column that is missing, and for rows that lack something.
    """
    path = existing(Path(path).expanduser())
    if not path.is_file():
        raise FileNotFoundError(f"no file of questions {path}")
    table = read_delimited(path, lambda header: set(NEEDED) <= set(header))
    if missing := [name for name in NEEDED if name not in table.header]:
        raise ValueError(f"{path} has no column {' and no '.join(missing)}: its columns are {a_few(table.header, 8)}")
    if not table.rows:
        raise ValueError(f"{path} has a header and no question")
    names = [name for name in (*NEEDED, "kind", "answer") if name in table.header]
    rows = pd.DataFrame({name: table.column(name) for name in names}, dtype="str")
    for name in rows:
        if (blank := table.numbers[(rows[name].str.strip() == "").to_numpy()]).size:
            raise ValueError(f"{path}: no {name} on line {a_few(blank)}")
    return rows if "kind" in rows else rows.assign(kind=EVERY)


def asked_in_a_file(path: str | Path, folder: str | Path = "") -> pd.DataFrame:
    """As `read_questions`, with the path of each row's image, which may lie in `folder`."""
    rows = read_questions(path)
    return rows.assign(path=image_files(rows["image"], folder, path))


def asked_of_each_image(question: str, paths: Sequence[str]) -> pd.DataFrame:
    """The same rows for one question about each image in `paths`, files and folders. ValueError for a video."""
    media = find_media(paths)
    if videos := [name for name, path in media.items() if is_video(path)]:
        raise ValueError(f"questions are about images, not videos: {a_few(videos)}")
    rows = pd.DataFrame({"image": list(media), "path": list(media.values())}, dtype="str")
    return rows.assign(question=question, kind=EVERY)


def image_files(names: pd.Series, folder: str | Path, table: str | Path) -> pd.Series:
    """The file of each name: in `folder`, if it is given; else from here, the project's root or beside the table.

    FileNotFoundError for those that are nowhere.
    """
    beside = existing(Path(table).expanduser()).parent

    def file(name: str) -> str | None:
        places = [Path(folder).expanduser() / name] if folder else [existing(Path(name).expanduser()), beside / name]
        return next((str(place) for place in places if place.is_file()), None)

    files = names.map({name: file(name) for name in names.unique()})
    if files.isna().any():
        missing = names[files.isna()].unique()
        raise FileNotFoundError(
            f"{table}: {len(missing):,} images are not there: {a_few(missing)}; say their folder, --images FOLDER"
        )
    return files


def is_right(said: str, answer: str) -> bool:
    """Whether one of the right answers, which OR parts, is among the words said: "It is red." to "red".

    Case, punctuation, articles do not count, nor whether a number is written in figures. To yes or no, the one said
    first is the answer.
    """
    words = plain(said)
    accepted = [plain(right) for right in answer.split(OR)]
    if accepted in ([["yes"]], [["no"]]):
        return next(([word] for word in words if word in ("yes", "no")), []) == accepted[0]
    return any(right and right == words[i : i + len(right)] for right in accepted for i in range(len(words)))


def plain(text: str) -> list[str]:
    """Lower-case words without articles, numbers up to ten in figures."""
    words = re.findall(r"\w+", text.lower())
    return [str(NUMBERS.index(word)) if word in NUMBERS else word for word in words if word not in ("a", "an", "the")]


def commonest_answers(train: pd.DataFrame) -> dict[str, str]:
    """The commonest answer to the questions of each kind (rows of kind and answer); the first of equals."""
    return {kind: Counter(rows["answer"]).most_common(1)[0][0] for kind, rows in train.groupby("kind", sort=False)}


def answers_by_kind(train: pd.DataFrame) -> dict[str, list[str]]:
    """All that is ever answered to the questions of each kind, in its first wording, the commonest first."""
    first = train.assign(answer=train["answer"].str.partition(OR)[0])
    return {k: [a for a, _ in Counter(rows["answer"]).most_common()] for k, rows in first.groupby("kind", sort=False)}


def accuracy_table(rows: pd.DataFrame, said: dict[str, Sequence[str]]) -> pd.DataFrame:
    """Share of right answers by kind, and over all where there are several; a column for each way of answering.

    `rows` of kind and answer; `said` by the name of the way, an answer to each row.
    """
    right = pd.DataFrame({name: list(map(is_right, texts, rows["answer"])) for name, texts in said.items()})
    kinds = rows["kind"].to_numpy()
    table = right.groupby(kinds, sort=False).mean()
    table.insert(0, "questions", pd.Series(kinds).value_counts())
    if len(table) > 1:
        table.loc[EVERY] = [len(rows), *right.mean()]
    return table.astype({"questions": int})
