"""The caption metrics that need Java: PTB tokens, METEOR 1.5 and SPICE, from the jars inside pycocoevalcap."""

import json
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from clipknight.scoring.java import JavaFailed, java_lines, run_java

import numpy as np
from pycocoevalcap.tokenizer.ptbtokenizer import PUNCTUATIONS

JARS = Path(find_spec("pycocoevalcap").submodule_search_locations[0])
PTB_JAR = JARS / "tokenizer" / "stanford-corenlp-3.4.1.jar"
METEOR_JAR = JARS / "meteor" / "meteor-1.5.jar"
SPICE_FOLDER = JARS / "spice"
CORENLP = ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar")  # what SPICE needs besides

# METEOR 1.5 for English (Denkowski and Lavie 2014), `-l en` with its default task
ALPHA, BETA, GAMMA, DELTA = 0.85, 0.2, 0.6, 0.75
STAGE_WEIGHTS = np.array([1, 0.6, 0.8, 0.6])  # exact, stem, synonym, paraphrase
STATISTICS = 23  # numbers a segment: lengths 4, matches 4 x 4, chunks, matched words 2
BARS = re.compile(r"\|{3,}")  # part the captions in METEOR's input


def ptb_tokens(captions: Sequence[str]) -> list[str]:
    """Captions in lower case, their PTB tokens parted by spaces, COCO's list of punctuation left out."""
    # White space is collapsed first: the tokenizer takes \r, U+0085 and U+2028 for the end of a caption.
    arguments = ["-cp", str(PTB_JAR), "edu.stanford.nlp.process.PTBTokenizer"]
    arguments += ["-encoding", "UTF-8", "-preserveLines", "-lowerCase"]
    lines = java_lines(arguments, [" ".join(caption.split()) for caption in captions])
    return [" ".join(token for token in line.rstrip().split(" ") if token not in PUNCTUATIONS) for line in lines]


def meteor(candidates: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> float:
    """METEOR 1.5 of tokenized captions by image id."""
    segments = [["SCORE", *references[image], candidate] for image, candidate in candidates.items()]
    lines = [" ||| ".join(BARS.sub(" ", part) for part in segment) for segment in segments]
    arguments = ["-Xmx2G", "-jar", str(METEOR_JAR), "-", "-", "-stdio", "-l", "en", "-norm"]
    rows = [line.split() for line in java_lines(arguments, lines)]
    if wrong := [row for row in rows if len(row) != STATISTICS]:
        raise JavaFailed(f"{METEOR_JAR.name} answered {' '.join(wrong[0])!r} instead of {STATISTICS} numbers")
    return meteor_score(np.array(rows, dtype=np.float64))


def meteor_score(statistics: np.ndarray) -> float:
    """METEOR of a corpus from its segments' statistics (N, 23), summed before the formula is applied."""
    total = statistics.sum(axis=0)
    tested, wanted, tested_function, wanted_function = total[:4]  # words of candidates and of references
    *_, chunks, tested_matches, wanted_matches = total
    if not tested_matches:
        return 0.0
    matches = statistics[:, 4:20].reshape(-1, 4, 4)  # stage x (content tested, wanted; function tested, wanted)
    whole = (matches[:, :, ::2].sum(axis=(1, 2)) == statistics[:, 0]) & (
        matches[:, :, 1::2].sum(axis=(1, 2)) == statistics[:, 1]
    )
    chunks -= (whole & (statistics[:, 20] == 1)).sum()  # a caption matched word for word is no fragment
    content, function = (STAGE_WEIGHTS @ matches.sum(axis=0)).reshape(2, 2)
    found = DELTA * content + (1 - DELTA) * function
    lengths = np.array([tested, wanted]), np.array([tested_function, wanted_function])
    precision, recall = found / (DELTA * (lengths[0] - lengths[1]) + (1 - DELTA) * lengths[1])
    f_mean = 1 / ((1 - ALPHA) / precision + ALPHA / recall)
    fragmentation = chunks / ((tested_matches + wanted_matches) / 2)
    return float(f_mean * (1 - GAMMA * fragmentation**BETA))


def spice_missing() -> str | None:
    """Why SPICE cannot be had; None where its jars are complete."""
    missing = [name for name in CORENLP if not (SPICE_FOLDER / "lib" / name).is_file()]
    if not missing:
        return None
    return (
        f"{' and '.join(missing)} not in {SPICE_FOLDER / 'lib'}: unpack them there from "
        "stanford-corenlp-full-2015-12-09.zip (stanfordnlp.github.io/CoreNLP/history.html)"
    )


def spice(candidates: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> float:
    """Mean SPICE F-score of tokenized captions by image id, to the three decimals that the program prints.

    More decimals would need its -out, and speed its -cache; both fail on Java 15 and later.
    """
    entries = [{"image_id": i, "test": candidate, "refs": list(references[i])} for i, candidate in candidates.items()]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "captions.json"
        file.write_text(json.dumps(entries), encoding="utf-8")
        arguments = ["-Xmx8G", "-jar", str(SPICE_FOLDER / "spice-1.0.jar"), str(file)]
        output = run_java([*arguments, "-subset", "-threads", str(os.cpu_count())])
    found = re.search(r"All tuples\s+f-score:\s+(\d+\.\d+)", output)
    if found is None:
        raise JavaFailed(f"SPICE gave no score: {output.strip()[-300:]}")
    return float(found[1])
