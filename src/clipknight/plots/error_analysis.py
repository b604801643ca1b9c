"""Where predictions fail: the score of each pair and image, and what goes with it."""

from collections.abc import Mapping, Sequence

from clipknight.embedding.captioned_dataset import CaptionedDataset
from clipknight.embedding.embeddings import Embeddings, unit
from clipknight.embedding.metrics import pair_cosines
from clipknight.ensemble.blending import balanced_folds

import faiss
import numpy as np
import pandas as pd
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import PredefinedSplit, cross_val_predict


def pair_scores(predictions: Mapping[str, Embeddings], data: CaptionedDataset) -> pd.DataFrame:
    """Cosine of each caption's target, rows by image id in the order of `data`, to what each model predicts."""
    ids = data.dataset.captions["id"].to_numpy()
    cosines = {name: pair_cosines(rows, data.targets, ids) for name, rows in predictions.items()}
    return pd.DataFrame(cosines, index=pd.Index(ids, name="id"))


def image_scores(predictions: Mapping[str, Embeddings], data: CaptionedDataset) -> pd.DataFrame:
    """The mean over each image's captions, images in the order of `data`."""
    return pair_scores(predictions, data).groupby(level="id").mean().loc[data.dataset.ids]


def agreement(members: Sequence[np.ndarray]) -> np.ndarray:
    """(N,) mean cosine over all pairs of two or more members' rows (N, D): known before any caption is."""
    count = len(members)
    if count < 2:
        raise ValueError(f"agreement needs two members or more, not {count}")
    length = np.linalg.norm(sum(unit(np.asarray(member, np.float64)) for member in members), axis=1)
    return (length**2 - count) / (count * (count - 1))  # |Σu|² = M + the cosines of all ordered pairs


def nearest(queries: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cosine (N,) and row (N,) of the key (M, D) most like each query (N, D), exactly."""
    rows = (np.ascontiguousarray(unit(np.asarray(part)), dtype=np.float32) for part in (queries, keys))
    cosines, found = faiss.knn(*rows, 1, faiss.METRIC_INNER_PRODUCT)
    return cosines[:, 0], found[:, 0]


def binned(by: np.ndarray, scores: pd.DataFrame | pd.Series, bins: int = 8) -> pd.DataFrame:
    """Means of `by` (N,) and of each column of `scores` (N rows) in bins of about equal size, fewer where `by` repeats.

    Columns: ("at", "mean"), ("at", "count"), and (column, "mean"), (column, "sem") the standard error of the mean.
    """
    frame = scores.to_frame("score") if isinstance(scores, pd.Series) else scores
    by = pd.Series(np.asarray(by), index=frame.index)
    group = pd.qcut(by, min(bins, len(by)), labels=False, duplicates="drop").fillna(0).to_numpy()  # one value: one bin
    at = pd.concat({"at": by.groupby(group).agg(["mean", "count"])}, axis=1)
    return at.join(frame.groupby(group).agg(["mean", "sem"]))


def expected_scores(
    signs: np.ndarray, scores: np.ndarray, groups: np.ndarray, folds: int = 5, seed: int = 0
) -> np.ndarray:
    """(N,) what each image's score should be by its `signs` (N, S), regressed on the other folds' images.

    `groups` (N,) go to one fold whole. A sign is anything known before the captions, such as `agreement`.
    """
    fold = balanced_folds(groups, min(folds, len(np.unique(groups))), seed)
    return cross_val_predict(LinearRegression(), signs, scores, cv=PredefinedSplit(fold))


def calibration_error(expected: np.ndarray, scores: np.ndarray, bins: int = 8) -> float:
    """Mean distance of the expected score from the mean score, over bins of about equal size, by their counts."""
    table = binned(expected, pd.Series(scores), bins)
    return float(np.average((table["at", "mean"] - table["score", "mean"]).abs(), weights=table["at", "count"]))
