"""Make a run whose predictions are another's, mixed with the training captions nearest to them.

How many captions and at what weight is chosen on the training split, by folds that keep similar captions together: a
ridge regression on the run's own tower stands for it there, since its head knows these images. That needs a run of
train_a.py; for any other, say both. Neighbours of images (train_b.py) lose by mixing.

    python src/mix_captions.py --data input/flickr8k --from a --run a_mixed
    python src/mix_captions.py --data input/flickr8k --from a --run a_mixed --n_neighbors 50 --weight 0.5
"""

from dataclasses import dataclass

from clipknight.blending import balanced_folds
from clipknight.caption_mixing import mixing_scores, nearest_captions
from clipknight.dataset_targets import CaptionedDataset, DataSettings
from clipknight.embedding_cache import image_embeddings
from clipknight.errors import user_errors
from clipknight.model_a import ModelAPredictor
from clipknight.runs import Run
from clipknight.settings import parse
from clipknight.splits import similarity_groups

import numpy as np
import pandas as pd
from sklearn.linear_model import Ridge
from sklearn.model_selection import PredefinedSplit, cross_val_predict

NEIGHBORS, WEIGHTS = (5, 10, 20, 50, 100), (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, kw_only=True)
class Settings(DataSettings):
    """Settings of mix_captions.py"""

    from_: str
    """the run whose predictions are mixed"""
    run: str = "mixed"
    """name of the run: outputs/<run>"""
    n_neighbors: int | None = None
    """captions that are averaged; chosen by default"""
    weight: float | None = None
    """of their mean beside the prediction's 1; chosen by default"""
    folds: int = 5
    """parts of train that are predicted from the others, to choose"""
    similarity: float = 0.8
    """images with captions of this cosine or more go to one fold"""
    workers: int = 2
    """processes that read images"""
    overwrite: bool = False
    """replace the run"""


@user_errors
def main(argv=None) -> float:
    s = parse(Settings, argv, __doc__)
    if s.weight is not None and not 0 <= s.weight < np.inf:
        raise ValueError(f"--weight {s.weight} is not a number >= 0")
    base = Run.open(s.from_)
    Run.at(s.run).refuse_unless_free(overwrite=s.overwrite)
    if base.folder.resolve() == Run.at(s.run).folder.resolve():
        raise ValueError(f"--run {s.run!r} is the run that is mixed: name the new one otherwise")
    if base.settings["target_encoder"] != s.target_encoder:
        raise ValueError(f"{base.name} predicts {base.settings['target_encoder']!r}: pass it as --target_encoder")
    data = CaptionedDataset.of(s)
    train, valid = data.split("train"), data.split("valid")
    n_neighbors, weight, chosen = s.n_neighbors, s.weight, {}
    if n_neighbors is None or weight is None:
        scores = cross_fitted_scores(base, train, s)
        print(f"train Avg-Cos, cross-fitted, of a ridge regression on {base.name}'s tower, by weight and neighbours")
        print(scores.to_string(float_format="{:.4f}".format))
        weight, n_neighbors = scores.stack().idxmax()
        chosen = {"chosen_on": "train, cross-fitted", "train_avg_cos": float(scores.max(axis=None))}

    info = {"base": base.name, "n_neighbors": int(n_neighbors), "weight": float(weight), **chosen}
    captions = nearest_captions(np.asarray(train.targets.vectors), info["n_neighbors"])
    predictor = "clipknight.caption_mixing:CaptionMixPredictor"
    run = Run.start(s.run, s, predictor, overwrite=s.overwrite, **info)
    captions.to_folder(run.folder / "best")
    run.save_split_predictions(data.dataset, s)
    before, score = (valid.avg_cos(r.predictions("valid")) for r in (base, run))
    run.log(avg_cos=score)
    run.finish(avg_cos=score, base_avg_cos=before, valid_images=len(valid.dataset), valid_pairs=len(valid.targets))
    print(
        f"{base.name} with {info['n_neighbors']} captions at weight {info['weight']:g}: valid Avg-Cos {before:.4f} -> "
        f"{score:.4f}, {len(valid.dataset)} images, {len(valid.targets)} pairs -> {run.folder}"
    )
    return score


def cross_fitted_scores(base: Run, train: CaptionedDataset, s: Settings) -> pd.DataFrame:
    """`mixing_scores` of the choices that the settings leave open."""
    predictor = base.load_predictor(s.device)
    if not isinstance(predictor, ModelAPredictor):
        raise ValueError(f"{base.name} is no run of train_a.py, for which to choose: pass --n_neighbors and --weight")
    groups = similarity_groups(train.targets, train.dataset.captions["id"].to_numpy(), s.similarity)
    fold = balanced_folds(groups[train.dataset.ids].to_numpy(), s.folds, s.seed)
    features = image_embeddings(predictor.encoder, train.dataset, workers=s.workers).vectors
    said = cross_val_predict(Ridge(), features, train.mean_targets(), cv=PredefinedSplit(fold))
    fewest = len(train.targets) - np.bincount(fold[train.image_of_caption]).max()
    neighbors = [k for k in NEIGHBORS if k <= fewest] if s.n_neighbors is None else [s.n_neighbors]
    weights = WEIGHTS if s.weight is None else [s.weight]
    return mixing_scores(said, train, fold, neighbors, weights)


if __name__ == "__main__":
    main()
