"""A blend with all that was fitted for it: out-of-fold rows of valid, their scores, and what blends any other rows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from clipknight.embedding.captioned_dataset import CaptionedDataset
from clipknight.embedding.embeddings import Embeddings
from clipknight.embedding.splits import similarity_groups
from clipknight.ensemble.bands import BandBlend, cross_fitted_bands, fit_bands, principal_components
from clipknight.ensemble.blending import blend, cross_fitted, fit_weights
from clipknight.ensemble.gate import Gate, cross_fitted_gate, fit_gate

import numpy as np
import pandas as pd


@dataclass(frozen=True, eq=False)
class FittedBlend:
    """`rows` (N, D): the blend of valid's N images; `weights` (M,): one a member; `origin`: where those come from.

    Where weights were fitted, `fold` (N,) and `fold_weights` (folds, M) say by which each row was blended. With bands
    or a gate, the `mixer`, `weighted` (N, D) are the rows by one weight a member, for comparison.
    """

    rows: np.ndarray
    weighted: np.ndarray
    weights: np.ndarray
    origin: str
    fold: np.ndarray | None = None
    fold_weights: np.ndarray | None = None
    mixer: BandBlend | Gate | None = None
    fold_mixers: Sequence[BandBlend | Gate] = ()

    @property
    def kind(self) -> str:
        return self.mixer.kind if self.mixer else "blend"

    @property
    def fitting(self) -> str:
        """How the rows of valid were blended, for a table."""
        return "given weights" if self.fold is None else f"cross-fitted, {len(self.fold_weights)} folds"

    @property
    def notes(self) -> dict:
        """What rows of the blend say of themselves."""
        return self.mixer.notes if isinstance(self.mixer, Gate) else {}

    @property
    def predict(self) -> Callable[[Sequence[np.ndarray]], np.ndarray]:
        """From M members' rows (N, D) of any images to unit rows (N, D)."""
        return self.mixer.predict if self.mixer else lambda members: blend(members, self.weights)


def with_weights(members: Sequence[np.ndarray], weights: np.ndarray) -> FittedBlend:
    """The blend by weights that somebody gives."""
    rows = blend(members, weights)
    return FittedBlend(rows, rows, weights, "given")


def fit_blend(
    members: Sequence[np.ndarray], valid: CaptionedDataset, folds: int, similarity: float, seed: int
) -> FittedBlend:
    """Weights for `members`' rows (N, D) of the valid images, cross-fitted over folds with no captions alike."""
    target_sums = valid.target_sums()
    groups = similarity_groups(valid.targets, valid.dataset.captions["id"].to_numpy(), similarity)
    groups = _apart(groups[valid.dataset.ids].to_numpy())
    folds = min(folds, len(np.unique(groups)))
    rows, fold, fold_weights = cross_fitted(members, target_sums, groups, folds, seed)
    origin = f"fitted on valid, {len(valid.dataset)} images"
    return FittedBlend(rows, rows, fit_weights(members, target_sums), origin, fold, fold_weights)


def _apart(groups: np.ndarray) -> np.ndarray:
    """Two groups or more: where all captions are alike, each image is one. ValueError for a single image."""
    if len(groups) < 2:
        raise ValueError("one valid image is too few to fit weights on: give them yourself, as in --weights 0.5 0.5")
    if len(np.unique(groups)) > 1:
        return groups
    print(f"the captions of all {len(groups):,} valid images are alike: folds part them one by one, and scores flatter")
    return np.arange(len(groups))


def with_bands(
    fitted: FittedBlend, members: Sequence[np.ndarray], train: CaptionedDataset, valid: CaptionedDataset
) -> FittedBlend:
    """The same, with a weight for each member and band of the training targets' principal components."""
    components, target_sums = principal_components(train.targets.vectors), valid.target_sums()
    rows, fold_bands = cross_fitted_bands(members, target_sums, components, fitted.fold)
    bands = fit_bands(members, target_sums, components)
    return replace(fitted, rows=rows, mixer=bands, fold_mixers=fold_bands)


def with_gate(
    fitted: FittedBlend, members: Sequence[np.ndarray], valid: CaptionedDataset, importance: np.ndarray
) -> FittedBlend:
    """The same, with weights that a gate finds for each image; `importance` (N,) weighs those it learns from."""
    targets = valid.mean_targets()
    rows, fold_gates = cross_fitted_gate(members, targets, importance, fitted.fold)
    return replace(fitted, rows=rows, mixer=fit_gate(members, targets, importance), fold_mixers=fold_gates)


def score_table(
    fitted: FittedBlend, members: Mapping[str, Embeddings], train: CaptionedDataset, valid: CaptionedDataset
) -> pd.DataFrame:
    """Avg-Cos of each member, with its weight, of the blend, and of what the blend must beat, on all pairs of valid.

    `lead` says how far the last row is ahead of each, and `error` the standard error of that over the images.
    """

    def compared(name: str, rows: np.ndarray, weight: float | None = None) -> tuple:
        return name, valid.avg_cos(Embeddings(valid.dataset.ids, rows)), weight, valid.cosines(rows)

    mean = np.repeat(train.mean_targets().mean(axis=0, keepdims=True), len(valid.dataset), axis=0)
    equal = blend([member.vectors for member in members.values()], np.full(len(members), 1 / len(members)))
    found = [compared(name, member.vectors, w) for (name, member), w in zip(members.items(), fitted.weights)]
    found += [compared("mean training target", mean)]  # the floor: one answer for all
    if (agreement := valid.agreement()) is not None:
        found += [("another person's caption", agreement, None, valid.agreements())]
    found += [compared("equal weights", equal), compared(f"ensemble ({fitted.fitting})", fitted.weighted)]
    if fitted.mixer:
        found += [compared(f"{fitted.kind} ({fitted.fitting})", fitted.rows)]
    captions = np.bincount(valid.image_of_caption, minlength=len(valid.dataset))
    leads = [lead(found[-1][3] - cosines, captions) for *_, cosines in found[:-1]] + [(None, None)]
    rows = [(*row[:3], *ahead) for row, ahead in zip(found, leads)]
    return pd.DataFrame(rows, columns=["member", "avg_cos", "weight", "lead", "error"])


def lead(differences: np.ndarray, captions: np.ndarray) -> tuple[float, float]:
    """Mean of `differences` (N,) of images, each counted by its `captions`, and its standard error; NaN ones left out.

    The error takes images as drawn by chance, one independent of the other. Of a single image it is infinite.
    """
    known = np.isfinite(differences)
    shares = captions[known] / captions[known].sum()
    mean, count = float(shares @ differences[known]), int(known.sum())
    spread = float((shares**2) @ (differences[known] - mean) ** 2)
    return mean, (spread * count / (count - 1)) ** 0.5 if count > 1 else float("inf")
