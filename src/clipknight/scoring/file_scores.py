"""The scores of a submission, and of a file of captions, as score.py prints and writes them."""

import json

from clipknight.data.result_files import by_known_id, one_an_image, read_captions, references_of
from clipknight.embedding.embeddings import Embeddings
from clipknight.embedding.metrics import avg_cos
from clipknight.embedding.target_encoder import load_target_encoder
from clipknight.ensemble.submission import read_submission
from clipknight.files import atomic_file
from clipknight.output_names import check_output
from clipknight.paths import existing
from clipknight.preparation import prepare_process
from clipknight.scoring.caption_metrics import caption_scores
from clipknight.scoring.clip_score import scores_by_clip, target_cosine
from clipknight.scoring.settings import CaptionSettings, SubmissionSettings

import numpy as np


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
    prepare_process(engine=s.where)
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
