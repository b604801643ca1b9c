"""Fit Model B: the distance-weighted KNN regressor on an encoder's embeddings. No training, seconds once encoded.

Two spaces: `image` looks among the training images, whose values are their captions' targets; `joint` looks among the
captions themselves by their CLIP text embedding, so it needs captions but no paired images (zero-shot).

    python src/train_b.py --data input/flickr8k --run b
    python src/train_b.py --data input/flickr8k --run b_joint --space joint --encoder outputs/clip
    python src/train_b.py --data input/flickr8k --run b_tuned --encoder outputs/a            # on Model A's tower
"""

import shutil
from dataclasses import dataclass, field
from typing import Literal

from clipknight.devices import BackendSettings, PrecisionSettings, WorkerSettings
from clipknight.embedding.settings import FEATURES, OFFLINE, KeptDataSettings, SkippingSettings
from clipknight.engines.settings import EngineSettings
from clipknight.ensemble.settings import INDEX_PARAMS, ON_DISK
from clipknight.errors import parse_early, user_errors
from clipknight.ranges import Name, NonNegative, Positive, PositiveCount, PositiveFew
from clipknight.settings import parse
from clipknight.training.settings import RunSettings


@dataclass(frozen=True, kw_only=True)
class Settings(
    RunSettings, EngineSettings, WorkerSettings, PrecisionSettings, BackendSettings, SkippingSettings, KeptDataSettings
):
    """Settings of train_b.py"""

    run: Name = "b"
    """name of the run: outputs/<run>"""
    encoder: Name = f"{OFFLINE}@224"
    """CLIP that embeds the query: lite2-minilm, architecture:tag, hf-hub:..., a folder or a run (of Model A too)"""
    features: Literal[FEATURES] = "auto"
    """image embedding that is compared: auto (the encoder's own), or pooled (before its projection)"""
    space: Literal["image", "joint"] = "image"
    """image: neighbours are training images; joint: neighbours are training captions, found by the image embedding"""
    n_neighbors: PositiveCount | None = None
    """neighbours that are averaged; by default the paper's 100, or all where there are fewer"""
    power: NonNegative = 6
    """p in the weight 1 / (d^p + delta)"""
    delta: Positive = 1e-4
    """what keeps the weight of a twin finite"""
    index: Literal[tuple(INDEX_PARAMS)] = "exact"
    """exact, or approximate, and then compared with exact on images of valid: ivf, hnsw; ivf_sq8, ivf_pq, on disk, for
    more than memory holds; auto: by the number of keys and the free memory"""
    row_length: Literal["one", "agreement"] = "one"
    """one; or agreement: the less the neighbours agree, the shorter a row is, and the less it counts in a blend"""
    flip_tta: bool = False
    """predict the mean of what is said of an image and of its mirror image; encodes twice as much"""
    tta_sizes: list[PositiveFew] = field(default_factory=list)
    """image sizes at which predictions are made too, and averaged: often 1.3 to 1.5 times that of training helps"""


if __name__ == "__main__":
    parse_early(Settings, __doc__)  # --help and typos, before the parts load

from clipknight.embedding.cache import caption_embeddings, image_embeddings
from clipknight.embedding.captioned_dataset import CaptionedDataset
from clipknight.embedding.cells import sample
from clipknight.embedding.clip import load_clip
from clipknight.embedding.embeddings import Embeddings, unit
from clipknight.ensemble.index_choice import resolved_index
from clipknight.ensemble.knn import DistanceWeightedKNN
from clipknight.ensemble.knn_on_disk import fit_on_disk, in_parts
from clipknight.ensemble.predictors import save_split_predictions
from clipknight.ensemble.saved_knn import load_knn, save_knn
from clipknight.ensemble.views import check_sizes
from clipknight.ensemble.weighted_neighbors import PAPER_NEIGHBORS
from clipknight.preparation import prepare_process
from clipknight.training.runs import Run

import numpy as np

COMPARED = 1000  # images of valid


@user_errors
def main(argv=None) -> float:
    s = parse(Settings, argv, __doc__)
    prepare_process(s.backend, s.where)
    check_sizes(s.tta_sizes)
    Run.at(s.run).refuse_unless_free(overwrite=s.overwrite)
    encoder = load_clip(s.encoder, s.device, s.precision, s.features)
    if s.space == "joint" and not encoder.joint:
        raise ValueError(f"encoder {s.encoder!r} has no trained joint space: adapt it with src/train_clip.py first")
    data = CaptionedDataset.of(s)
    train, valid = data.split("train"), data.split("valid")

    keys, values = keys_and_values(encoder, train, s)
    if (s.n_neighbors or 0) > len(keys):
        raise ValueError(f"--n_neighbors {s.n_neighbors:,} is more than there are, {len(keys):,}: leave it out for all")
    fingerprint = encoder.fingerprint("visual")
    run = Run.start(s.run, s, "model_b", overwrite=s.overwrite, encoder_fingerprint=fingerprint)
    knn = fitted(keys, values, run, s)
    if knn.index != "exact":
        print_against_exact(knn, image_embeddings(encoder, valid.dataset, workers=s.workers), valid)

    save_split_predictions(run, data.dataset, s)
    score = valid.avg_cos(run.predictions("valid"))
    run.log(avg_cos=score)
    counts = {"valid_images": len(valid.dataset), "valid_pairs": len(valid.targets)}
    counts |= {"train_images": len(train.dataset), "train_captions": len(train.targets)}
    run.finish(avg_cos=score, **counts)
    print(
        f"Model B: valid Avg-Cos {score:.4f}, {len(valid.dataset)} images, {len(valid.targets)} pairs -> {run.folder}"
    )
    return score


def fitted(keys: np.ndarray, values: np.ndarray, run: Run, s: Settings) -> DistanceWeightedKNN:
    """Fitted and saved; an index on disk is built beside what is saved, and goes on there after a kill."""
    kind = resolved_index(s.index, *keys.shape)
    formula = {"power": s.power, "delta": s.delta, "unit_output": s.row_length == "one"}
    knn = DistanceWeightedKNN(s.n_neighbors, **formula, index=kind)
    if kind not in ON_DISK:
        save_knn(knn.fit(keys, values), run.folder / "best")
        return knn
    parts, building = in_parts(keys), run.folder / "index"
    save_knn(fit_on_disk(knn, parts, parts if values is keys else in_parts(values), building), run.folder / "best")
    knn = load_knn(run.folder / "best")
    shutil.rmtree(building)
    return knn


def print_against_exact(knn: DistanceWeightedKNN, images: Embeddings, valid: CaptionedDataset) -> None:
    """What the index finds and what that costs in Avg-Cos, on images of valid, which it was not fitted on."""
    some = sample(np.arange(len(images)), COMPARED)
    found, exact, recall = knn.compare_with_exact(images.vectors[some])
    captions = np.bincount(valid.image_of_caption, minlength=len(images))[some].sum()
    sums = valid.target_sums()[some]
    score, true = (float((unit(rows) * sums).sum() / captions) for rows in (found, exact))
    print(
        f"{knn.index} index: recall@{knn.n_neighbors or PAPER_NEIGHBORS} {recall:.4f} against exact search on "
        f"{len(some)} valid images, where Avg-Cos is {score:.4f}, exactly {true:.4f}"
    )


def keys_and_values(encoder, train: CaptionedDataset, s: Settings):
    """Keys (N, D) and values (N, 384): training images with the mean of their targets, or captions with their own."""
    if s.space == "image":
        images: Embeddings = image_embeddings(encoder, train.dataset, workers=s.workers)
        return images.vectors, train.mean_targets()
    if encoder.captions_are_targets:
        return train.targets.vectors, train.targets.vectors
    return caption_embeddings(encoder, train.dataset).vectors, train.targets.vectors


if __name__ == "__main__":
    main()
