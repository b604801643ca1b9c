"""The Java half of the caption metrics against pycocoevalcap's own wrappers of the same jars: PTB tokens and METEOR.

    python benchmarks/caption_metrics_speed.py --candidates C.json --references R.json
    python benchmarks/caption_metrics_speed.py --candidates C.csv --references input/flickr8k/captions.txt --repeats 1

Files as for `score.py captions`; references of other images are left out, and counted. Each call starts its own Java,
as each evaluation does. Ratios are the wrapper's time by ours: above 1, ours is faster. CPU counts the Java processes
too, and so holds on a busy machine.
"""

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from clipknight.data.result_files import one_an_image, read_captions, references_of
from clipknight.errors import user_errors
from clipknight.paths import existing
from clipknight.scoring.java import java_path
from clipknight.scoring.java_metrics import meteor, ptb_tokens
from clipknight.settings import parse

from pycocoevalcap.meteor.meteor import Meteor
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

Captions = dict[str, list[str]]


@dataclass(frozen=True)
class Settings:
    candidates: str
    """one caption an image: CSV of image,caption or JSON"""
    references: str
    """one or more captions an image"""
    repeats: int = 3
    """calls of which the fastest counts"""


def read(settings: Settings) -> tuple[Captions, Captions]:
    """Candidates and references by image id, a list each. ValueError for a candidate without references."""
    file, of = existing(settings.candidates), existing(settings.references)
    candidates = one_an_image(read_captions(file), file)
    ids = candidates.index.to_numpy(dtype=object)
    rows, left_out = references_of(ids, file, of, allow_partial=True)
    if left_out:
        print(f"left out: the references of {left_out:,} images without a candidate")
    references = rows["caption"].groupby(ids[rows["at"]]).agg(list).to_dict()
    return {i: [text] for i, text in candidates.items()}, {i: references[i] for i in ids}


def tokens_at_once(candidates: Captions, references: Captions) -> list[str]:
    return ptb_tokens([text for part in (candidates, references) for texts in part.values() for text in texts])


def tokens_by_wrapper(candidates: Captions, references: Captions) -> list[str]:
    tokens = []
    for part in (candidates, references):
        tokenized = PTBTokenizer().tokenize({i: [{"caption": text} for text in texts] for i, texts in part.items()})
        tokens += [text for texts in tokenized.values() for text in texts]
    return tokens


def meteor_at_once(candidates: Captions, references: Captions) -> float:
    return meteor({i: text for i, [text] in candidates.items()}, references)


def meteor_by_wrapper(candidates: Captions, references: Captions) -> float:
    return Meteor().compute_score(references, candidates)[0]


def measure(function: Callable, captions: tuple[Captions, Captions], repeats: int) -> tuple[float, float, object]:
    """Seconds and CPU seconds of the fastest call, and its result."""
    calls = []
    for _ in range(repeats):
        start, before = time.perf_counter(), os.times()
        result = function(*captions)
        calls.append((time.perf_counter() - start, sum(os.times()[:4]) - sum(before[:4])))
    return *min(calls), result


def retokenized(tokens: list[str], candidates: Captions, references: Captions) -> tuple[Captions, Captions]:
    remaining = iter(tokens)
    return tuple(
        {i: [next(remaining) for _ in texts] for i, texts in part.items()} for part in (candidates, references)
    )


@user_errors
def main(argv=None) -> None:
    settings = parse(Settings, argv, "Speed of PTB tokens and METEOR beside pycocoevalcap's wrappers.")
    os.environ["PATH"] = f"{Path(java_path()).parent}{os.pathsep}{os.environ['PATH']}"  # the wrappers call plain `java`
    captions = read(settings)
    tokens, *ptb_row = compared(tokens_by_wrapper, tokens_at_once, captions, settings.repeats)
    captions = retokenized(tokens, *captions)
    _, *meteor_row = compared(meteor_by_wrapper, meteor_at_once, captions, settings.repeats)

    print(f"\n{len(captions[0]):,} candidates, {sum(map(len, captions[1].values())):,} references\n")
    print("| step | wrapper, s | here, s | ratio | wrapper, CPU s | here, CPU s | ratio | result |")
    print("|---|---|---|---|---|---|---|---|")
    for name, (theirs, ours, difference) in (("PTB tokens", ptb_row), ("METEOR", meteor_row)):
        cells = [f"{a:.2f} | {b:.2f} | {a / b:.1f}" for a, b in zip(theirs, ours)]
        print(f"| {name} | {' | '.join(cells)} | {difference} |")
    print(f"\n{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f} at the end")


def compared(wrapper: Callable, ours: Callable, captions: tuple[Captions, Captions], repeats: int) -> tuple:
    """Our result, the wrapper's seconds and CPU seconds, ours, and whether the results differ."""
    *theirs, expected = measure(wrapper, captions, repeats)
    *seconds, result = measure(ours, captions, repeats)
    same = result == expected if isinstance(result, list) else abs(result - expected) < 1e-12
    return result, theirs, seconds, "the same" if same else "DIFFERENT"


if __name__ == "__main__":
    main()
