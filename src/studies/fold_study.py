"""How much do random folds flatter nearest neighbours? Out-of-fold Avg-Cos on the training split, KNN and ridge.

Similar captions on both sides of a split leak. At each threshold, folds that keep groups of similar captions whole
(`similarity_groups`) are compared with random folds of the same sizes: what those score more is
their flattery. A low threshold may join most images into one group, which is then predicted from few others.

    python src/studies/fold_study.py --data input/flickr8k
    python src/studies/fold_study.py --data input/flickr8k --encoder outputs/flickr8k/clip --thresholds 0.8 0.85 0.9
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # src/, for when nothing is installed

import json
from dataclasses import dataclass, field
from typing import Literal

from clipknight.devices import PrecisionSettings, WorkerSettings
from clipknight.embedding.settings import FEATURES, OFFLINE, DataSettings, SkippingSettings
from clipknight.errors import parse_early, user_errors
from clipknight.paths import outputs
from clipknight.ranges import Cosine, Folds, Name, PositiveCount
from clipknight.settings import parse


@dataclass(frozen=True, kw_only=True)
class Settings(WorkerSettings, PrecisionSettings, SkippingSettings, DataSettings):
    """Settings of fold_study.py"""

    encoder: Name = f"{OFFLINE}@224"
    """CLIP: lite2-minilm, architecture:tag, hf-hub:..., a folder, a run; best one that never trained on these images"""
    features: Literal[FEATURES] = "auto"
    """image embedding: auto (the encoder's own), or pooled (before its projection)"""
    thresholds: list[Cosine] = field(default_factory=lambda: [0.6, 0.7, 0.8, 0.9])
    """cosine of two captions from which on their images go to one fold"""
    folds: Folds = 5
    """parts that are predicted from the others"""
    n_neighbors: PositiveCount | None = None
    """of the KNN; by default the paper's 100, or all where there are fewer"""
    out: Name = field(default_factory=lambda: str(outputs() / "fold_study.json"))
    """JSON file for all figures"""


if __name__ == "__main__":
    parse_early(Settings, __doc__)  # --help and typos, before the parts load

from clipknight.embedding.cache import image_embeddings
from clipknight.embedding.captioned_dataset import CaptionedDataset
from clipknight.embedding.clip import load_clip
from clipknight.embedding.embeddings import Embeddings
from clipknight.embedding.splits import similarity_groups
from clipknight.ensemble.blending import balanced_folds
from clipknight.ensemble.knn import DistanceWeightedKNN
from clipknight.files import atomic_file
from clipknight.output_names import check_output
from clipknight.preparation import prepare_process

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import PredefinedSplit, cross_val_predict


@user_errors
def main(argv=None) -> dict:
    s = parse(Settings, argv, __doc__)
    check_output("--out", s.out, (".json",), s.data)
    prepare_process()
    encoder = load_clip(s.encoder, s.device, s.precision, s.features)
    data = CaptionedDataset.of(s)
    train, valid = data.split("train"), data.split("valid")
    keys, queries = (image_embeddings(encoder, part.dataset, workers=s.workers).vectors for part in (train, valid))
    models = {
        "knn": DistanceWeightedKNN(s.n_neighbors),
        "ridge": Ridge(),
    }
    draw = np.random.default_rng(s.seed)
    values = train.mean_targets()
    random = draw.permutation(np.arange(len(keys)) % s.folds)
    study = {
        "dataset": train.dataset.name,
        "encoder": s.encoder,
        "images": len(keys),
        "folds": s.folds,
        "valid": {name: on_valid(model, keys, values, queries, valid) for name, model in models.items()},
        "random": out_of_fold_scores(models, keys, train, random),
        "thresholds": [],
    }
    print(f"{study['dataset']}: {len(keys):,} training images, {s.encoder}; Avg-Cos, {s.folds} folds")
    show("valid, from all training images", study["valid"])
    show("random folds of equal size", study["random"])
    for threshold in s.thresholds:
        groups = similarity_groups(train.targets, train.dataset.captions["id"].to_numpy(), threshold)
        groups = groups[train.dataset.ids].to_numpy()
        sizes = np.sort(np.bincount(groups))[::-1]
        found = {"threshold": threshold, "groups": len(sizes), "largest_groups": sizes[:5].tolist()}
        study["thresholds"].append(found)
        print(f"cosine >= {threshold:g}: {len(sizes):,} groups, the largest {', '.join(map(str, sizes[:5]))} images")
        if len(sizes) < s.folds:
            print(f"  too few groups for {s.folds} folds")
            continue
        fold = balanced_folds(groups, s.folds, s.seed)
        found["fold_sizes"] = np.bincount(fold).tolist()
        found["random"] = out_of_fold_scores(models, keys, train, draw.permutation(fold))
        found["grouped"] = out_of_fold_scores(models, keys, train, fold)
        found["flattery"] = {name: found["random"][name] - found["grouped"][name] for name in models}
        if sizes[0] > len(keys) / s.folds:
            print(f"  the largest group overfills its fold: {sizes[0] / len(keys):.0%} of the images, told by the rest")
        show("similar captions in one fold", found["grouped"])
        show("random folds of the same sizes", found["random"])
        show("flattery", found["flattery"], "+.4f")
    with atomic_file(s.out) as temporary:
        temporary.write_text(json.dumps(study, indent=1), encoding="utf-8")
    print(f"-> {s.out}")
    return study


def on_valid(
    model: BaseEstimator, keys: np.ndarray, values: np.ndarray, queries: np.ndarray, valid: CaptionedDataset
) -> float:
    """Avg-Cos on valid of `model` fitted on all training images."""
    return valid.avg_cos(Embeddings(valid.dataset.ids, clone(model).fit(keys, values).predict(queries)))


def out_of_fold_scores(
    models: dict[str, BaseEstimator], keys: np.ndarray, train: CaptionedDataset, fold: np.ndarray
) -> dict[str, float]:
    """Avg-Cos by model over all pairs of `train`, each image told by models fitted on the other folds."""
    values, ids = train.mean_targets(), train.dataset.ids
    told = {name: cross_val_predict(model, keys, values, cv=PredefinedSplit(fold)) for name, model in models.items()}
    return {name: train.avg_cos(Embeddings(ids, rows)) for name, rows in told.items()}


def show(label: str, scores: dict[str, float], form: str = ".4f") -> None:
    print(f"  {label:<32}" + "  ".join(f"{name} {score:{form}}" for name, score in scores.items()), flush=True)


if __name__ == "__main__":
    main()
