"""Stacking: maps from the members' predictions that can do more than one weight a member.

`fit_bands`  a weight for each member and band of the targets' principal components: what a caption is about in general
             and what it says in detail may be known best to different members
`fit_ridge`  a ridge regression on what the weighted blend leaves of the mean targets (Breiman 1996, "Stacked
             regressions", with the blend as its origin): the stronger its penalty, the nearer it is to the blend
`fit_trees`  boosted trees on the same remainder, along the targets' leading components: the only ones that can tell
             when to trust which member
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from clipknight.embedding.embeddings import unit
from clipknight.ensemble.blending import BlendPredictor, balanced_folds, blend_loss, fit_weights
from clipknight.ensemble.component_trees import COMPONENTS, ROUNDS, ComponentTrees
from clipknight.files import atomic_file
from clipknight.training.runs import Run

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file
from scipy.optimize import minimize
from sklearn.linear_model import Ridge

BANDS = (8, 32, 128)  # component where each further band begins; fifteen other choices scored up to .0013 less
PENALTIES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, math.inf)  # for each row fitted on


@dataclass(frozen=True, eq=False)
class Stacker:
    """Unit rows of the members' unit rows side by side, (N, M·D), times `coefficients` (M·D, D), plus what trees add.

    `found`: what was fitted, in a few words or numbers.
    """

    coefficients: np.ndarray
    found: dict
    trees: ComponentTrees | None = None

    def predict(self, members: Sequence[np.ndarray]) -> np.ndarray:
        """Unit rows (N, D) float32 for M members' rows (N, D)."""
        rows = side_by_side(members) @ self.coefficients
        if self.trees:
            rows = rows + self.trees.predict(members, self.found["trees"])
        return unit(rows).astype(np.float32)

    def save(self, file: str | Path) -> None:
        tensors, about = {"coefficients": self.coefficients}, {"found": json.dumps(self.found)}
        if self.trees:
            tensors["components"] = self.trees.components
            about["trees"] = self.trees.to_json(self.found["trees"])
        with atomic_file(file) as temporary:
            save_file(tensors, temporary, about)

    @classmethod
    def load(cls, file: str | Path) -> "Stacker":
        if not Path(file).is_file():
            raise FileNotFoundError(f"no stacker in {file}: make the run again with src/blend.py")
        with safe_open(file, "numpy") as saved:
            about = saved.metadata()
            trees = about.get("trees")
            trees = ComponentTrees.from_json(saved.get_tensor("components"), trees) if trees else None
            return cls(saved.get_tensor("coefficients"), json.loads(about["found"]), trees)


def principal_components(targets: np.ndarray) -> np.ndarray:
    """(D, D) orthonormal columns: directions of `targets` (M, D), longest first, their mean or near it."""
    return np.linalg.eigh(np.float64(targets.T @ targets))[1][:, ::-1]


def fit_bands(
    members: Sequence[np.ndarray], target_sums: np.ndarray, components: np.ndarray, starts: Sequence[int] = BANDS
) -> Stacker:
    """The weights, none negative, of each member in each band with the highest Avg-Cos on these rows.

    `members` are M arrays (N, D), `target_sums` (N, D) each image's sum of unit targets, `components` (D, D) as from
    `principal_components`; a band begins at each of `starts`.
    """
    edges = [0, *(start for start in starts if start < len(components)), len(components)]
    bands = [slice(*pair) for pair in zip(edges, edges[1:])]
    count = len(members)
    along = np.stack([unit(np.asarray(member, np.float64)) @ components for member in members], axis=1)
    wanted = np.asarray(target_sums, np.float64) @ components
    gram = np.zeros((len(along), len(bands) * count, len(bands) * count))
    agreement = np.empty(gram.shape[:2])
    for i, band in enumerate(bands):
        own = slice(i * count, (i + 1) * count)
        gram[:, own, own] = along[:, :, band] @ along[:, :, band].transpose(0, 2, 1)
        agreement[:, own] = (along[:, :, band] @ wanted[:, band, None])[:, :, 0]
    blended = np.tile(fit_weights(members, target_sums), len(bands))
    found = minimize(
        blend_loss, blended + 0.1 / count, (gram, agreement), jac=True, bounds=[(0, None)] * len(blended)
    ).x
    weights = min(found, blended, key=lambda w: blend_loss(w, gram, agreement)[0])
    weights = weights.reshape(len(bands), count) / weights.sum() * len(bands)
    by_component = np.repeat(weights, np.diff(edges), axis=0)  # (D, M)
    coefficients = np.concatenate([components * of_member @ components.T for of_member in by_component.T])
    names = [f"components {start + 1}-{end}" for start, end in zip(edges, edges[1:])]
    return Stacker(coefficients.astype(np.float32), dict(zip(names, weights.round(4).tolist())))


def fit_ridge(
    members: Sequence[np.ndarray],
    target_sums: np.ndarray,
    captions: np.ndarray,
    groups: np.ndarray,
    folds: int = 5,
    seed: int = 0,
) -> Stacker:
    """The regression whose penalty has the highest Avg-Cos here, cross-fitted among these rows by whole `groups` (N,).

    `captions` (N,) is the number of each image's captions, by which it counts, as in Avg-Cos; the others as above.
    """

    def at_each_penalty(members, target_sums, captions):
        weights = fit_weights(members, target_sums)
        return [partial(_ridge, members, target_sums, captions, weights, penalty) for penalty in PENALTIES]

    return _best_across_folds(at_each_penalty, members, target_sums, captions, groups, folds, seed)


def fit_trees(
    members: Sequence[np.ndarray],
    target_sums: np.ndarray,
    captions: np.ndarray,
    groups: np.ndarray,
    components: np.ndarray,
    folds: int = 5,
    seed: int = 0,
) -> Stacker:
    """The number of trees with the highest Avg-Cos here, cross-fitted among these rows as in `fit_ridge`.

    `components` (D, D) as from `principal_components`; the leading 24 are corrected.
    """
    components = components[:, :COMPONENTS]

    def at_each_round(members, target_sums, captions):
        fitted = _trees(members, target_sums, captions, components, seed)
        return [partial(replace, fitted, found={"trees": rounds}) for rounds in ROUNDS]

    return _best_across_folds(at_each_round, members, target_sums, captions, groups, folds, seed)


def cross_fitted_stack(
    fit: Callable[..., Stacker],
    members: Sequence[np.ndarray],
    target_sums: np.ndarray,
    captions: np.ndarray,
    groups: np.ndarray,
    folds: int = 5,
    seed: int = 0,
) -> tuple[np.ndarray, list[Stacker]]:
    """Out-of-fold rows (N, D), each by the stacker of its fold, for which `fit` saw the other folds alone.

    The folds are those of `blending.cross_fitted`; `fit` takes members, target sums, captions and groups.
    """
    fold = balanced_folds(groups, folds, seed)
    rows, stackers = np.empty(np.shape(target_sums), dtype=np.float32), []
    for f in range(folds):
        own = fold == f
        stackers.append(fit([m[~own] for m in members], target_sums[~own], captions[~own], groups[~own]))
        rows[own] = stackers[f].predict([member[own] for member in members])
    return rows, stackers


def side_by_side(members: Sequence[np.ndarray]) -> np.ndarray:
    """(N, M·D) float32: the members' unit rows next to one another."""
    return np.concatenate([unit(np.asarray(member, np.float32)) for member in members], axis=1)


def _best_across_folds(choices, members, target_sums, captions, groups, folds: int, seed: int) -> Stacker:
    """Of the `choices` to fit members, target sums and captions, the one that scores highest on folds it has not seen.

    It is then fitted on all rows.
    """
    fold = balanced_folds(groups, min(folds, len(np.unique(groups))), seed)
    scores = 0.0
    for f in range(fold.max() + 1):
        own = fold == f
        fits = choices([member[~own] for member in members], target_sums[~own], captions[~own])
        rows = [member[own] for member in members]
        scores = scores + np.array([(fit().predict(rows) * target_sums[own]).sum() for fit in fits])
    return choices(members, target_sums, captions)[int(scores.argmax())]()


def _ridge(members, target_sums, captions, weights, penalty: float) -> Stacker:
    """The weighted sum, at the scale nearest to the mean targets, plus the regression on what it leaves of them."""
    inputs = side_by_side(members)
    coefficients, left, counts = _remainder(inputs, target_sums, captions, weights)
    if np.isfinite(penalty):
        ridge = Ridge(alpha=penalty * len(inputs), fit_intercept=False)
        coefficients += ridge.fit(inputs, left, sample_weight=counts).coef_.T
    return Stacker(coefficients.astype(np.float32), {"penalty": penalty if np.isfinite(penalty) else "infinite"})


def _trees(members, target_sums, captions, components: np.ndarray, seed: int) -> Stacker:
    """The weighted sum, likewise, plus the trees that learnt what it leaves along the components."""
    weights = fit_weights(members, target_sums)
    coefficients, left, counts = _remainder(side_by_side(members), target_sums, captions, weights)
    trees = ComponentTrees.fit(members, left, counts, components, seed)
    return Stacker(coefficients.astype(np.float32), {}, trees)


def _remainder(inputs, target_sums, captions, weights) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The weighted sum's coefficients (M·D, D), what it leaves of the mean targets (N, D), and what a row counts (N,).

    The sum is scaled to be nearest to the mean targets.
    """
    counts = captions / captions.mean()
    wanted = target_sums / captions[:, None]
    coefficients = np.kron(np.asarray(weights)[:, None], np.eye(wanted.shape[1]))
    mixed = inputs @ coefficients
    coefficients *= (counts[:, None] * mixed * wanted).sum() / (counts[:, None] * mixed**2).sum()
    return coefficients, (wanted - inputs @ coefficients).astype(np.float32), counts


class StackPredictor(BlendPredictor):
    """Predictions of a stacked run for any images."""

    def __init__(self, run: Run, device: str = "auto"):
        super().__init__(run, device)
        self.stacker = Stacker.load(run.folder / "best" / "stacker.safetensors")

    def combined(self, members: Sequence[np.ndarray]) -> np.ndarray:
        return self.stacker.predict(members)
