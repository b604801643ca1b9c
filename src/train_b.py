"""Fit Model B: the distance-weighted KNN regressor on an encoder's embeddings. No training, seconds once encoded.

Two spaces: `image` looks among the training images, whose values are their captions' targets; `joint` looks among the
captions themselves by their CLIP text embedding, so it needs captions but no paired images (zero-shot).

    python src/train_b.py --data input/flickr8k --run b
    python src/train_b.py --data input/flickr8k --run b_joint --space joint --encoder outputs/clip
    python src/train_b.py --data input/flickr8k --run b_tuned --encoder outputs/a            # on Model A's tower
"""

from dataclasses import dataclass, field
from typing import Literal

from clipknight.devices import BackendSettings, PrecisionSettings, WorkerSettings
from clipknight.embedding.settings import FEATURES, OFFLINE, KeptDataSettings, SkippingSettings
from clipknight.ensemble.settings import INDEX_PARAMS
from clipknight.errors import parse_early, user_errors
from clipknight.ranges import Name, NonNegative, Positive, PositiveCount, PositiveFew
from clipknight.settings import parse
from clipknight.training.settings import RunSettings


@dataclass(frozen=True, kw_only=True)
class Settings(RunSettings, WorkerSettings, PrecisionSettings, BackendSettings, SkippingSettings, KeptDataSettings):
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
    """exact, or the approximate ivf and hnsw, whose recall is then measured"""
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
from clipknight.embedding.clip import load_clip
from clipknight.embedding.embeddings import Embeddings
from clipknight.ensemble.knn import DistanceWeightedKNN
from clipknight.ensemble.predictors import save_split_predictions
from clipknight.ensemble.saved_knn import save_knn
from clipknight.ensemble.views import check_sizes
from clipknight.preparation import prepare_process
from clipknight.training.runs import Run


@user_errors
def main(argv=None) -> float:
    s = parse(Settings, argv, __doc__)
    prepare_process(s.backend)
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
    formula = {"power": s.power, "delta": s.delta, "unit_output": s.row_length == "one"}
    knn = DistanceWeightedKNN(s.n_neighbors, **formula, index=s.index)
    knn.fit(keys, values)
    save_knn(knn, run.folder / "best")
    if s.index != "exact":
        print(f"{s.index} index: recall@{s.n_neighbors or 100} {knn.recall():.4f} against exact search")

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
