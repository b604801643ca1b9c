"""Stacking: a ridge regression on the members' predictions that corrects their weighted blend.

It sees the members' unit rows side by side and is fitted to what the blend leaves of the mean targets (Breiman 1996,
"Stacked regressions", with the blend as its origin): a stronger penalty leads back to the blend, an infinite one is it.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from clipknight.atomic import atomic_file
from clipknight.blending import BlendPredictor, balanced_folds, blend, fit_weights
from clipknight.embeddings import unit
from clipknight.runs import Run

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file
from sklearn.linear_model import Ridge

PENALTIES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, math.inf)  # for each row fitted on


@dataclass(frozen=True, eq=False)
class RidgeStacker:
    """Unit rows of `scale · blend + members @ coefficients`; see the module's head.

    `weights` (M,) of the blend, `coefficients` (M·D, D).
    """

    weights: np.ndarray
    coefficients: np.ndarray
    scale: float
    penalty: float

    def predict(self, members: Sequence[np.ndarray]) -> np.ndarray:
        """Unit rows (N, D) float32 for M members' rows (N, D)."""
        blended = self.scale * blend(members, self.weights)
        return unit(blended + side_by_side(members) @ self.coefficients).astype(np.float32)

    def save(self, file: str | Path) -> None:
        tensors = {"weights": self.weights.astype(np.float64), "coefficients": self.coefficients}
        numbers = {"scale": self.scale, "penalty": self.penalty}
        with atomic_file(file) as temporary:
            save_file(tensors, temporary, {"numbers": json.dumps(numbers)})

    @classmethod
    def load(cls, file: str | Path) -> "RidgeStacker":
        if not Path(file).is_file():
            raise FileNotFoundError(f"no stacker in {file}: make the run again with src/blend.py --method ridge")
        with safe_open(file, "numpy") as saved:
            tensors = {name: saved.get_tensor(name) for name in ("weights", "coefficients")}
            return cls(**tensors, **json.loads(saved.metadata()["numbers"]))


def fit_ridge(
    members: Sequence[np.ndarray],
    target_sums: np.ndarray,
    captions: np.ndarray,
    groups: np.ndarray,
    folds: int = 5,
    seed: int = 0,
) -> RidgeStacker:
    """The stacker whose penalty has the highest Avg-Cos on these rows, cross-fitted among them by whole `groups` (N,).

    `members` are M arrays (N, D), `target_sums` (N, D) each image's sum of unit targets, `captions` (N,) how many.
    """
    fold = balanced_folds(groups, min(folds, len(np.unique(groups))), seed)
    scores = np.zeros(len(PENALTIES))
    for f in range(fold.max() + 1):
        own = fold == f
        others = [member[~own] for member in members], target_sums[~own], captions[~own]
        weights = fit_weights(*others[:2])
        for i, penalty in enumerate(PENALTIES):
            rows = _fitted(*others, weights, penalty).predict([member[own] for member in members])
            scores[i] += (rows * target_sums[own]).sum()
    best = PENALTIES[int(scores.argmax())]
    return _fitted(members, target_sums, captions, fit_weights(members, target_sums), best)


def cross_fitted_ridge(
    members: Sequence[np.ndarray],
    target_sums: np.ndarray,
    captions: np.ndarray,
    groups: np.ndarray,
    folds: int = 5,
    seed: int = 0,
) -> tuple[np.ndarray, list[float]]:
    """Out-of-fold rows (N, D), each by a stacker fitted on the other folds, penalty and all; and the folds' penalties.

    The folds are those of `blending.cross_fitted`.
    """
    fold = balanced_folds(groups, folds, seed)
    stacked, penalties = np.empty(np.shape(target_sums), dtype=np.float32), []
    for f in range(folds):
        own = fold == f
        others = [member[~own] for member in members]
        stacker = fit_ridge(others, target_sums[~own], captions[~own], groups[~own], folds, seed)
        stacked[own] = stacker.predict([member[own] for member in members])
        penalties.append(stacker.penalty)
    return stacked, penalties


def side_by_side(members: Sequence[np.ndarray]) -> np.ndarray:
    """(N, M·D) float32: the members' unit rows next to one another."""
    return np.concatenate([unit(np.asarray(member, np.float32)) for member in members], axis=1)


def _fitted(members, target_sums, captions, weights, penalty: float) -> RidgeStacker:
    """An image counts by its captions, as it does in Avg-Cos."""
    blended = blend(members, weights)
    scale = float((blended * target_sums).sum() / captions.sum())  # of the nearest multiple of the blend
    inputs = side_by_side(members)
    coefficients = np.zeros((inputs.shape[1], blended.shape[1]), np.float32)
    if np.isfinite(penalty):
        left = (target_sums / captions[:, None] - scale * blended).astype(np.float32)
        ridge = Ridge(alpha=penalty * len(inputs), fit_intercept=False)
        coefficients = ridge.fit(inputs, left, sample_weight=captions / captions.mean()).coef_.T.astype(np.float32)
    return RidgeStacker(weights, np.ascontiguousarray(coefficients), scale, penalty)


class StackPredictor(BlendPredictor):
    """Predictions of a stacked run for any images."""

    def __init__(self, run: Run, device: str = "auto"):
        super().__init__(run, device)
        self.stacker = RidgeStacker.load(run.folder / "best" / "stacker.safetensors")

    def combined(self, members: Sequence[np.ndarray]) -> np.ndarray:
        return self.stacker.predict(members)
