"""The ensemble: the weighted mean of any number of members' predictions (Che et al. 2023, eq. 6).

Rows count at length 1. A member that is unsure of a row gives it shorter, and then it counts the less.
"""

from collections.abc import Callable, Sequence

from clipknight.data.datasets import Dataset
from clipknight.embedding.embeddings import CHUNK_ROWS, Embeddings, unit
from clipknight.ensemble.members import aligned_members
from clipknight.ensemble.predictors import load_predictor
from clipknight.messages import a_few
from clipknight.training.runs import Run

import numpy as np


def blend(members: Sequence[np.ndarray], weights: Sequence[float]) -> np.ndarray:
    """Unit rows (N, D) float32 of the weighted mean of the members' rows, each counted at length 1 or less."""
    blended = np.empty(np.shape(members[0]), dtype=np.float32)
    for start in range(0, len(blended), CHUNK_ROWS // 16):
        chunk = slice(start, start + CHUNK_ROWS // 16)
        rows = (at_most_unit(np.asarray(member[chunk], np.float64)) for member in members)
        blended[chunk] = unit(sum(weight * row for row, weight in zip(rows, weights, strict=True)))
    return blended


def at_most_unit(rows: np.ndarray) -> np.ndarray:
    """Rows (..., D) longer than 1 at length 1, others as they are."""
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1)


def fit_weights(members: Sequence[np.ndarray], target_sums: np.ndarray) -> np.ndarray:
    """Weights (M,), none negative, of sum 1, with the highest Avg-Cos of the blend over all (image, caption) pairs.

    `members` are M arrays (N, D); `target_sums` (N, D) is each image's sum of unit targets: all that the pairs' cosines
    depend on. The best single member is among the candidates, so the blend is never worse on these rows. ValueError for
    NaN and for shapes that differ.
    """
    from scipy.optimize import minimize  # late: a blend that only predicts does without

    moments = _moments(members, target_sums)
    count = len(members)
    corners = np.eye(count)
    equal = np.full(count, 1 / count)
    sum_is_one = {"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like}
    how = {"method": "SLSQP", "jac": True, "bounds": [(0, 1)] * count, "constraints": sum_is_one, "tol": 1e-12}
    starts = equal, *(0.8 * corners + 0.2 * equal)
    found = [minimize(blend_loss, start, moments, **how).x for start in starts]
    candidates = [np.maximum(w, 0) / np.maximum(w, 0).sum() for w in (*found, equal, *corners)]
    return min(candidates, key=lambda w: blend_loss(w, *moments)[0])  # the first of equals


def blend_loss(weights: np.ndarray, gram: np.ndarray, agreement: np.ndarray) -> tuple[float, np.ndarray]:
    """Minus the mean product of the blend's unit rows with the sums of targets, and its slope (M,).

    `gram` (N, M, M) holds the products of a row's members, `agreement` (N, M) theirs with the row's sum of targets.
    """
    along = gram @ weights  # (N, M)
    length = np.sqrt(np.maximum(along @ weights, 1e-24))
    cosine = agreement @ weights / length
    slope = (agreement - cosine[:, None] * along / length[:, None]) / length[:, None]
    return -cosine.mean(), -slope.mean(axis=0)


def _moments(members: Sequence[np.ndarray], target_sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cosines (N, M, M) between the members of a row, and each one's product (N, M) with the sum of targets."""
    shapes = {np.shape(target_sums), *map(np.shape, members)}
    if len(shapes) > 1 or not len(target_sums):
        raise ValueError(f"members and targets need the same rows and columns, and some; they have {sorted(shapes)}")
    gram, agreement = [], []
    for start in range(0, len(target_sums), CHUNK_ROWS // 16):
        rows = slice(start, start + CHUNK_ROWS // 16)
        units = at_most_unit(np.stack([np.asarray(member[rows], dtype=np.float64) for member in members], axis=1))
        gram.append(units @ units.transpose(0, 2, 1))
        agreement.append((units @ np.asarray(target_sums[rows], dtype=np.float64)[:, :, None])[:, :, 0])
    gram, agreement = np.concatenate(gram), np.concatenate(agreement)
    if not (np.isfinite(gram).all() and np.isfinite(agreement).all()):
        raise ValueError("NaN or infinity among the members' predictions or the targets")
    return gram, agreement


def balanced_folds(groups: np.ndarray, folds: int, seed: int = 0) -> np.ndarray:
    """Fold (N,) of each row: whole groups, the largest first into the smallest fold; the seed orders equal ones."""
    from sklearn.model_selection import GroupKFold  # late, as above

    names, number = np.unique(np.asarray(groups), return_inverse=True)
    if not 2 <= folds <= len(names):
        raise ValueError(
            f"{folds} folds out of {len(names)} groups of similar captions: give 2 folds or more, at most one a group"
        )
    shuffled = np.random.default_rng(seed).permutation(len(names))[number]
    fold = np.empty(len(number), dtype=np.int64)
    for i, (_, rows) in enumerate(GroupKFold(folds).split(number, groups=shuffled)):
        fold[rows] = i
    return fold


def cross_fitted(
    members: Sequence[np.ndarray], target_sums: np.ndarray, groups: np.ndarray, folds: int = 5, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Out-of-fold blend: (N, D) unit rows, each by weights fitted on the other folds, whose groups it shares none of.

    Also returns the fold (N,) of each row and the weights (folds, M).
    """
    fold = balanced_folds(groups, folds, seed)
    blended = np.empty(np.shape(target_sums), dtype=np.float32)
    weights = np.empty((folds, len(members)))
    for f in range(folds):
        own = fold == f
        weights[f] = fit_weights([member[~own] for member in members], target_sums[~own])
        blended[own] = blend([member[own] for member in members], weights[f])
    return blended, fold, weights


def out_of_fold(members: Sequence[np.ndarray], fold: np.ndarray, fit: Callable) -> tuple[np.ndarray, list]:
    """Rows (N, D), each predicted by what was fitted on the other folds, and what that was, one a fold.

    `fit` is given the members' rows of those folds, and which (N,) they are; what it gives predicts from such rows.
    """
    rows, fitted = np.empty(np.shape(members[0]), dtype=np.float32), []
    for f in range(fold.max() + 1):
        own = fold == f
        fitted.append(fit([member[~own] for member in members], ~own))
        rows[own] = fitted[f].predict([member[own] for member in members])
    return rows, fitted


class BlendPredictor:
    """Predictions of a blend for any images: each member's own, blended with the run's weights."""

    def __init__(self, run: Run, device: str = "auto"):
        names, self.weights, self.name = run.info["members"], run.info["weights"], run.name
        numbers = all(isinstance(weight, (int, float)) and np.isfinite(weight) for weight in self.weights)
        if not names or len(names) != len(self.weights) or not numbers:
            raise ValueError(
                f"{run.folder / 'run.json'} has {len(names)} members and the weights {a_few(self.weights)}, not one "
                "number a member: make the run again by src/blend.py"
            )
        self.members = {name: load_predictor(Run.open(run.part(str(name))), device) for name in names}

    def predict(
        self, dataset: Dataset, batch_size: int = 64, workers: int = 2, skip_unreadable: bool = False
    ) -> Embeddings:
        """Predictions (N, target_dim) by image id, as `combined` makes them."""
        options = {"batch_size": batch_size, "workers": workers, "skip_unreadable": skip_unreadable}
        members = aligned_members(
            {name: member.predict(dataset, **options) for name, member in self.members.items()}
        ).values()
        ids = next(iter(members)).ids
        rows = self.combined([member.vectors for member in members])
        return Embeddings(ids, rows, {"run": self.name, **self.notes})

    @property
    def notes(self) -> dict:
        """What the rows say of themselves."""
        return {}

    def combined(self, members: Sequence[np.ndarray]) -> np.ndarray:
        """Unit rows (N, D) of the members' rows."""
        return blend(members, self.weights)
