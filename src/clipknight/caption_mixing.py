"""Predictions drawn towards captions: `unit(prediction + weight · unit(mean of the k nearest training captions))`.

A regressor answers with means that no caption has; its nearest captions lead back to what people say. Nearest
neighbours among images answer with means of captions already: they lose by it.
"""

from collections.abc import Sequence

from clipknight.blending import blend
from clipknight.dataset_targets import CaptionedDataset
from clipknight.datasets import Dataset
from clipknight.embeddings import Embeddings, unit
from clipknight.knn import DistanceWeightedKNN
from clipknight.runs import Run

import numpy as np
import pandas as pd
from scipy.sparse import csr_array


def nearest_captions(targets: np.ndarray, n_neighbors: int, groups: np.ndarray | None = None) -> DistanceWeightedKNN:
    """Predicts the unit mean of the `n_neighbors` rows of `targets` (M, D) nearest to a vector."""
    return DistanceWeightedKNN(n_neighbors, weights="uniform").fit(targets, targets, groups)


def mixing_scores(
    predictions: np.ndarray,
    train: CaptionedDataset,
    fold: np.ndarray,
    n_neighbors: Sequence[int],
    weights: Sequence[float],
) -> pd.DataFrame:
    """Avg-Cos of each choice, weights down and neighbours across, for `predictions` (N, D) of the training images.

    A row's neighbours are captions of other folds; what predicted it must not have seen its own `fold` (N,) either.
    """
    targets = np.asarray(train.targets.vectors)
    captions = nearest_captions(targets, max(n_neighbors), fold[train.image_of_caption])
    rows = captions.kneighbors(predictions, return_distance=False, groups=fold)
    scores = pd.DataFrame(index=pd.Index(weights, name="weight"), columns=list(n_neighbors), dtype=float)
    for k in n_neighbors:
        starts = np.arange(0, k * len(rows) + 1, k)
        ones = np.ones(k * len(rows), np.float32)
        near = unit(csr_array((ones, rows[:, :k].ravel(), starts), (len(rows), len(targets))) @ targets)
        for weight in weights:
            mixed = Embeddings(train.dataset.ids, blend([predictions, near], [1, weight]))
            scores.loc[weight, k] = train.avg_cos(mixed)
    return scores


class CaptionMixPredictor:
    """Predictions of another run for any images, mixed with their nearest captions."""

    def __init__(self, run: Run, device: str = "auto"):
        info = run.info
        self.base = Run.open(info["base"]).load_predictor(device)
        self.captions = DistanceWeightedKNN.from_folder(run.folder / "best")
        self.weight, self.name = info["weight"], run.name

    def predict(
        self, dataset: Dataset, batch_size: int = 64, workers: int = 2, skip_unreadable: bool = False
    ) -> Embeddings:
        """Unit predictions (N, target_dim) by image id."""
        said = self.base.predict(dataset, batch_size=batch_size, workers=workers, skip_unreadable=skip_unreadable)
        rows = blend([said.vectors, self.captions.predict(np.asarray(said.vectors))], [1, self.weight])
        return Embeddings(said.ids, rows, {"run": self.name})
