"""A blend with a weight for each member and band of the targets' principal components, `blend.py --method bands`.

What a caption is about in general and what it says in detail may be known best to different members.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from clipknight.embedding.embeddings import unit
from clipknight.ensemble.blending import BlendPredictor, blend_loss, fit_weights, out_of_fold
from clipknight.files import atomic_file
from clipknight.saved_files import read_noted_tensors
from clipknight.training.runs import Run

import numpy as np
from safetensors.numpy import save_file
from scipy.optimize import minimize

BANDS = (8, 32, 128)  # component where each further band begins; fifteen other choices scored up to .0013 less


@dataclass(frozen=True, eq=False)
class BandBlend:
    """The members' unit rows side by side, (N, M·D), times `coefficients` (M·D, D).

    `weights` says what was fitted: one number a member, by the name of the band.
    """

    coefficients: np.ndarray
    weights: dict[str, list[float]]

    kind: ClassVar[str] = "bands"
    file: ClassVar[str] = "best/stacker.safetensors"  # in a run's folder; the name dates from version 0.3.0

    def predict(self, members: Sequence[np.ndarray]) -> np.ndarray:
        """Unit rows (N, D) float32 for M members' rows (N, D)."""
        rows = np.concatenate([unit(np.asarray(member, np.float32)) for member in members], axis=1)
        return unit(rows @ self.coefficients).astype(np.float32)

    def save(self, file: str | Path) -> None:
        with atomic_file(file) as temporary:
            save_file({"coefficients": self.coefficients}, temporary, {"found": json.dumps(self.weights)})

    @classmethod
    def load(cls, file: str | Path) -> "BandBlend":
        """What `save` wrote, or version 0.3.0. Errors: those of `saved_files`, and ValueError for 0.3.0's trees."""
        remedy = "make the run again by src/blend.py --method bands"
        tensors, notes = read_noted_tensors(file, remedy)
        if "trees" in notes:
            raise ValueError(f"{file} blends by trees, which ended with 0.3.0: {remedy}")
        coefficients = tensors["coefficients"].float().numpy()  # a pack may hold 16 bits
        if coefficients.ndim != 2 or len(coefficients) % coefficients.shape[1]:
            raise ValueError(f"{file} holds coefficients of the shape {coefficients.shape}: {remedy}")
        return cls(coefficients, json.loads(notes["found"]))


def principal_components(targets: np.ndarray) -> np.ndarray:
    """(D, D) orthonormal columns: directions of `targets` (M, D), longest first, their mean or near it."""
    return np.linalg.eigh(np.float64(targets.T @ targets))[1][:, ::-1]


def fit_bands(
    members: Sequence[np.ndarray], target_sums: np.ndarray, components: np.ndarray, starts: Sequence[int] = BANDS
) -> BandBlend:
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
    return BandBlend(coefficients.astype(np.float32), dict(zip(names, weights.round(4).tolist())))


def cross_fitted_bands(
    members: Sequence[np.ndarray],
    target_sums: np.ndarray,
    components: np.ndarray,
    fold: np.ndarray,
    starts: Sequence[int] = BANDS,
) -> tuple[np.ndarray, list[BandBlend]]:
    """Out-of-fold rows (N, D), each by the weights fitted on the other folds, and these weights, one blend a fold.

    `fold` (N,) is that of each row, as from `blending.cross_fitted`.
    """
    return out_of_fold(members, fold, lambda others, which: fit_bands(others, target_sums[which], components, starts))


class BandPredictor(BlendPredictor):
    """Predictions of a run by bands for any images."""

    def __init__(self, run: Run, device: str = "auto"):
        super().__init__(run, device)
        self.bands = BandBlend.load(run.folder / BandBlend.file)
        rows, columns = self.bands.coefficients.shape
        if rows != columns * len(self.members):
            raise ValueError(
                f"{run.folder / BandBlend.file} blends {rows // columns} members, the run has {len(self.members)}: "
                f"make the run again by src/blend.py --method bands"
            )

    def combined(self, members: Sequence[np.ndarray]) -> np.ndarray:
        return self.bands.predict(members)
