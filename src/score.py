"""Score results against captions.

python src/score.py submission --submission outputs/submission.csv --captions test_captions.csv --json score.json
"""

import json
import sys
from dataclasses import dataclass

from clipknight.atomic import atomic_file
from clipknight.caption_table import a_few, read_caption_table
from clipknight.embeddings import Embeddings
from clipknight.encoders import MINILM, load_target_encoder
from clipknight.errors import user_errors
from clipknight.images import IMAGE_SUFFIXES
from clipknight.metrics import avg_cos
from clipknight.settings import parse
from clipknight.submission import read_submission

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class SubmissionSettings:
    """Settings of score.py submission"""

    submission: str
    """CSV of imgId_eId,val"""
    captions: str
    """CSV of image,caption, as many rows an image as it has captions"""
    json: str = ""
    """also write the score to this file"""
    target_encoder: str = MINILM
    """sentence-transformers name or folder"""
    allow_partial: bool = False
    """leave out captioned images that the submission lacks; otherwise they are an error"""
    device: str = "auto"
    """auto, cpu, cuda, mps"""


def score_submission(argv: list[str]) -> dict:
    """Avg-Cos of a submission over all (image, caption) pairs"""
    s = parse(SubmissionSettings, argv, score_submission.__doc__)
    predictions = read_submission(s.submission)
    rows = read_caption_table(s.captions).rows
    blank = rows["number"][rows["caption"].str.strip() == ""]
    if len(blank):
        raise ValueError(f"{s.captions}: empty captions in rows {a_few(blank)}")
    at = rows_of_images(predictions.ids, rows["name"])
    unknown = rows["name"][at < 0].unique()
    if len(unknown) and not s.allow_partial:
        raise ValueError(
            f"{len(unknown):,} captioned images are not in {s.submission}: {a_few(unknown)}; to leave them out pass "
            "--allow_partial"
        )
    uncaptioned = np.setdiff1d(np.arange(len(predictions)), at)
    if len(uncaptioned):
        raise ValueError(
            f"{len(uncaptioned):,} of {len(predictions):,} images of {s.submission} have no caption in {s.captions}: "
            f"{a_few(predictions.ids[uncaptioned])}"
        )
    captions, image_ids = rows["caption"][at >= 0].tolist(), predictions.ids[at[at >= 0]]
    encoder = load_target_encoder(s.target_encoder, s.device)
    targets = encoder.encode(captions, batch_size=128, normalize_embeddings=True, show_progress_bar=True)
    score = avg_cos(predictions, Embeddings(np.arange(len(captions)), targets), image_ids)
    partial = f", {len(unknown):,} captioned images left out" if len(unknown) else ""
    print(f"Avg-Cos {score:.4f} over {len(captions)} pairs, {len(predictions)} images{partial}")
    return save(s.json, {"avg_cos": score, "pairs": len(captions)})


def rows_of_images(ids: np.ndarray, names: pd.Series) -> np.ndarray:
    """Row of each name among `ids`, equal or but for an image suffix; -1 for none. ValueError if ids become one."""
    suffixes = rf"(?i)\.({'|'.join(suffix[1:] for suffix in sorted(IMAGE_SUFFIXES))})$"
    names = names.str.replace("\\", "/", regex=False)
    at = pd.Index(ids).get_indexer(names)
    if (at >= 0).all():
        return at
    plain = pd.Index(pd.Series(ids, dtype="str").str.replace(suffixes, "", regex=True))
    if not plain.is_unique:
        raise ValueError(f"images that differ in their suffix alone: {a_few(plain[plain.duplicated()])}")
    return np.where(at < 0, plain.get_indexer(names.str.replace(suffixes, "", regex=True)), at)


def save(path: str, scores: dict) -> dict:
    """Write the scores as JSON if there is a path, and return them."""
    if path:
        with atomic_file(path) as temporary:
            temporary.write_text(json.dumps(scores))
    return scores


COMMANDS = {"submission": score_submission}


@user_errors
def main(argv=None) -> dict | None:
    words = list(sys.argv[1:] if argv is None else argv)
    listed = "\n".join(f"  score.py {name:<12} {command.__doc__}" for name, command in COMMANDS.items())
    if words and words[0] in COMMANDS:
        return COMMANDS[words[0]](words[1:])
    if words[:1] not in (["-h"], ["--help"]):
        raise SystemExit(f"error: say what to score\n{listed}\nEach explains itself with --help.")
    print(f"{__doc__.strip()}\n\n{listed}\nEach explains itself with --help.")


if __name__ == "__main__":
    main()
