"""Score results against captions, and put scores side by side.

python src/score.py submission --submission outputs/submission.csv --captions test_captions.csv --json score.json
python src/score.py captions --candidates outputs/captions.csv --references input/flickr8k/captions.txt --allow_partial
python src/score.py table outputs/study/*.json --out outputs/study/table.md
python src/score.py seeds configs/table1/table.yaml --out outputs/table1/table.md
python src/score.py ladder flickr8k/b_frozen flickr8k/a flickr8k/ensemble --out outputs/flickr8k/ladder.json
"""

import json
import sys
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from clipknight.devices import DeviceSettings, WorkerSettings
from clipknight.embedding.settings import MINILM
from clipknight.errors import user_errors
from clipknight.plots.settings import LadderSettings
from clipknight.scoring.settings import METRICS, ScoreTableSettings, SeedTableSettings
from clipknight.settings import parse


@dataclass(frozen=True, kw_only=True)
class SubmissionSettings(DeviceSettings):
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


@dataclass(frozen=True, kw_only=True)
class CaptionSettings(WorkerSettings, DeviceSettings):
    """Settings of score.py captions"""

    candidates: str
    """captions to score, one an image: CSV of image,caption, COCO's JSON of results, or JSON of captions by file"""
    references: str = ""
    """captions people wrote, as many an image as there are: CSV of image,caption, COCO's JSON, JSON of lists by file"""
    metrics: list[Literal[METRICS]] = field(default_factory=lambda: list(METRICS))
    """some of Bleu, METEOR, ROUGE_L, CIDEr, SPICE"""
    images: str = ""
    """folder of the images: adds clip_cosine and CLIPScore, by --encoder"""
    encoder: str = ""
    """CLIP with a space that images and captions share: architecture:tag, hf-hub:..., folder, run of train_clip.py"""
    predictions: str = ""
    """folder of predictions, as outputs/ensemble/predictions/valid: adds target_cosine, by --target_encoder"""
    target_encoder: str = MINILM
    """sentence-transformers name or folder"""
    json: str = ""
    """also write the scores to this file"""
    allow_partial: bool = False
    """leave out images with references that have no candidate; otherwise they are an error"""


class Command(NamedTuple):
    """What a command does, its settings, and the name of the one that free words go to."""

    does: str
    settings: type
    free_words: str = ""


COMMANDS = {
    "submission": Command("Avg-Cos of a submission over all (image, caption) pairs", SubmissionSettings),
    "captions": Command(
        "BLEU, METEOR, ROUGE-L, CIDEr, SPICE of captions; CLIPScore, cosine to predictions", CaptionSettings
    ),
    "table": Command(
        "one table of many scores: the JSON files that score.py wrote, a row each", ScoreTableSettings, "scores"
    ),
    "seeds": Command(
        "runs repeated over seeds: mean and spread of valid Avg-Cos, beside a paper's; ablations",
        SeedTableSettings,
        "rows",
    ),
    "ladder": Command(
        "the way up: each run's valid Avg-Cos, and what it gained over the one before", LadderSettings, "runs"
    ),
}


def parse_command(argv=None):
    """The command's name and its settings. SystemExit for --help, and for what is no command."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words and words[0] in COMMANDS:
        command = COMMANDS[words[0]]
        return words[0], parse(command.settings, words[1:], command.does, command.free_words)
    listed = "\n".join(f"  score.py {name:<12} {command.does}" for name, command in COMMANDS.items())
    if words[:1] not in (["-h"], ["--help"]):
        raise SystemExit(f"error: say what to score\n{listed}\nEach explains itself with --help.")
    print(f"{__doc__.strip()}\n\n{listed}\nEach explains itself with --help.")
    raise SystemExit(0)


if __name__ == "__main__":
    user_errors(parse_command)()  # --help and typos, before the parts load

from clipknight.data.result_files import by_known_id, one_an_image, read_captions, references_of
from clipknight.embedding.embeddings import Embeddings
from clipknight.embedding.metrics import avg_cos
from clipknight.embedding.target_encoder import load_target_encoder
from clipknight.ensemble.submission import read_submission
from clipknight.files import atomic_file
from clipknight.output_names import check_output
from clipknight.paths import existing
from clipknight.plots.ladder import ladder_of_runs
from clipknight.preparation import prepare_process
from clipknight.scoring.caption_metrics import caption_scores
from clipknight.scoring.clip_score import scores_by_clip, target_cosine
from clipknight.scoring.score_table import table_of_scores
from clipknight.scoring.seed_table import table_of_seeds

import numpy as np
import pandas as pd


def score_submission(s: SubmissionSettings) -> dict:
    """Avg-Cos of a submission over all (image, caption) pairs"""
    check_output("--json", s.json, (".json",), s.submission, s.captions)
    predictions = read_submission(s.submission)
    rows, left_out = references_of(predictions.ids, s.submission, s.captions, s.allow_partial)
    captions, image_ids = rows["caption"].tolist(), predictions.ids[rows["at"]]
    encoder = load_target_encoder(s.target_encoder, s.device)
    targets = encoder.encode(captions, batch_size=128, normalize_embeddings=True, show_progress_bar=True)
    score = avg_cos(predictions, Embeddings(np.arange(len(captions)), targets), image_ids)
    print(f"Avg-Cos {score:.4f} over {len(captions)} pairs, {len(predictions)} images{partial(left_out)}")
    return save(s.json, {"avg_cos": score, "pairs": len(captions)})


def score_captions(s: CaptionSettings) -> dict:
    """BLEU, METEOR, ROUGE-L, CIDEr, SPICE of captions; CLIPScore, cosine to predictions"""
    if not (s.references or s.images or s.predictions):
        raise ValueError("say what to score against: --references, --images with --encoder, or --predictions")
    if bool(s.images) != bool(s.encoder):
        raise ValueError("--images and --encoder go together: the images, and the CLIP that embeds them")
    check_output("--json", s.json, (".json",), s.candidates, s.references, s.images, s.predictions)
    candidates = one_an_image(read_captions(s.candidates), s.candidates)
    ids, references, left_out, fit = candidates.index.to_numpy(dtype=object), {}, 0, {}
    if s.references:
        rows, left_out = references_of(ids, s.candidates, s.references, s.allow_partial)
        references = rows["caption"].groupby(ids[rows["at"]]).agg(list).to_dict()
    if s.images:
        fit |= scores_by_clip(candidates, s.images, s.encoder, s.workers, s.device)
    if s.predictions:
        predictions = Embeddings.load(existing(s.predictions))
        captions = by_known_id(candidates, predictions.ids, s.predictions)
        fit["target_cosine"] = target_cosine(load_target_encoder(s.target_encoder, s.device), predictions, captions)
    scores = caption_scores(candidates.to_dict(), references, s.metrics) if references else {}
    scores = {**scores, **fit, "images": len(ids)}
    print_scores(scores)
    print(f"over {len(ids):,} images{partial(left_out)}")
    return save(s.json, scores)


def print_scores(scores: dict) -> None:
    """A line a score, aligned; why SPICE is missing stands in its place."""
    for name in [name for name in scores if name not in ("SPICE_missing", "images")]:
        value = scores[name]
        print(f"{name:<13} {scores['SPICE_missing'] if value is None else format(value, '.4f')}")


def partial(left_out: int) -> str:
    return f", {left_out:,} captioned images left out" if left_out else ""


def save(path: str, scores: dict) -> dict:
    """Write the scores as JSON if there is a path, and return them."""
    if path:
        with atomic_file(path) as temporary:
            temporary.write_text(json.dumps(scores), encoding="utf-8")
    return scores


SCORES = {
    "submission": score_submission,
    "captions": score_captions,
    "table": table_of_scores,
    "seeds": table_of_seeds,
    "ladder": ladder_of_runs,
}


@user_errors
def main(argv=None) -> dict | list | pd.DataFrame:
    command, s = parse_command(argv)
    prepare_process()
    return SCORES[command](s)


if __name__ == "__main__":
    main()
