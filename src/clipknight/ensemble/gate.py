"""A blend whose weights differ from image to image, `blend.py --method gate`: the members' rows say whom to believe.

A gate looks at how much the members agree about an image (the cosine of each two) and how sure each is of it (the
length of its row). From the same signs it tells how good the blend will be there, and gives the row that length.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from clipknight.embedding.embeddings import LEAST_RECOGNISED, UNFAMILIAR, unit
from clipknight.ensemble.blending import BlendPredictor, at_most_unit, out_of_fold
from clipknight.files import atomic_file
from clipknight.saved_files import read_noted_tensors
from clipknight.training.runs import Run

import numpy as np
from safetensors.numpy import save_file

PENALTY = 1e-4  # on a coefficient's square; ten times as much or as little scores up to .003 less
LEAST_LENGTH = 0.05  # so that a row that nothing speaks for has a direction still
RARE = 0.01  # share of the valid images that count as unlike all others
AGAIN = "make the run again by src/blend.py --method gate"


@dataclass(frozen=True, eq=False)
class Gate:
    """Signs (N, S), with a 1 before them, times `coefficients` (1 + S, M) are the logits of M members' shares.

    Times `expected` (1 + S,) they are the Avg-Cos to expect of the blended row. Where that is below `unfamiliar`, the
    image is unlike those of valid; no more is expected where a member recognises nothing.
    """

    coefficients: np.ndarray
    expected: np.ndarray
    unfamiliar: float
    weights: dict[str, list[float]]

    kind: ClassVar[str] = "gate"
    file: ClassVar[str] = "best/gate.safetensors"  # in a run's folder

    @property
    def least(self) -> float:
        """The most that is expected where a member recognises nothing: less than of nearly all valid images."""
        return 0.99 * self.unfamiliar

    @property
    def notes(self) -> dict:
        """What its rows say of themselves: that their length is a confidence, and from where on an image is unlike."""
        return {UNFAMILIAR: self.unfamiliar}

    def predict(self, members: Sequence[np.ndarray]) -> np.ndarray:
        """Rows (N, D) float32 for M members' rows (N, D), as long as their Avg-Cos is expected to be."""
        rows, signs = stacked(members), with_one(signs_of(members))
        mixed = unit(np.einsum("nm,nmd->nd", softmax(signs @ self.coefficients), rows))
        expected = signs @ self.expected
        nothing = (np.linalg.norm(rows, axis=2) < LEAST_RECOGNISED).any(axis=1)
        expected[nothing] = np.minimum(expected[nothing], self.least)
        return (mixed * np.clip(expected, LEAST_LENGTH, 1)[:, None]).astype(np.float32)

    def save(self, file: str | Path) -> None:
        notes = {"weights": json.dumps(self.weights), "unfamiliar": repr(self.unfamiliar)}
        tensors = {"coefficients": self.coefficients, "expected": self.expected}
        with atomic_file(file) as temporary:
            save_file({name: np.ascontiguousarray(a, np.float32) for name, a in tensors.items()}, temporary, notes)

    @classmethod
    def load(cls, file: str | Path) -> "Gate":
        """What `save` wrote. Errors: those of `saved_files`."""
        tensors, notes = read_noted_tensors(file, AGAIN)
        arrays = {name: tensor.double().numpy() for name, tensor in tensors.items()}  # a pack may hold 16 bits
        if set(arrays) != {"coefficients", "expected"} or len(arrays["coefficients"]) != len(arrays["expected"]):
            raise ValueError(f"{file} holds no gate: {AGAIN}")
        return cls(**arrays, unfamiliar=float(notes["unfamiliar"]), weights=json.loads(notes["weights"]))


def signs_of(members: Sequence[np.ndarray]) -> np.ndarray:
    """(N, S) the cosine of each two of M members' rows, and the length of each."""
    rows = np.stack([np.asarray(member, np.float64) for member in members], axis=1)
    directions = unit(rows)
    first, second = np.triu_indices(len(members), 1)
    agreement = (directions @ directions.transpose(0, 2, 1))[:, first, second]
    return np.concatenate([agreement, np.linalg.norm(rows, axis=2)], axis=1)


def stacked(members: Sequence[np.ndarray]) -> np.ndarray:
    """(N, M, D) of M members' rows (N, D), none longer than 1."""
    return at_most_unit(np.stack([np.asarray(member, np.float64) for member in members], axis=1))


def with_one(signs: np.ndarray) -> np.ndarray:
    return np.concatenate([np.ones((len(signs), 1)), signs], axis=1)


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def fit_gate(members: Sequence[np.ndarray], mean_targets: np.ndarray, importance: np.ndarray) -> Gate:
    """The gate with the highest mean product of the blend's unit rows with `mean_targets` (N, D), each image's own.

    `importance` (N,) weighs the images.
    """
    from scipy.optimize import minimize  # late: a gate that only predicts does without

    importance = importance / importance.sum()
    signs = signs_of(members)
    centre = importance @ signs
    scale = np.sqrt(importance @ (signs - centre) ** 2)
    scale = np.where(scale > 1e-6, scale, np.inf)  # what is the same of all images says nothing
    standard = with_one((signs - centre) / scale)
    rows = stacked(members)
    gram = rows @ rows.transpose(0, 2, 1)
    agreement = np.einsum("nmd,nd->nm", rows, np.asarray(mean_targets, np.float64))
    start = np.zeros(standard.shape[1] * len(members))
    found = minimize(gate_loss, start, (standard, gram, agreement, importance), jac=True, method="L-BFGS-B").x
    found = found.reshape(-1, len(members))
    shares = softmax(standard @ found)
    cosines = (agreement * shares).sum(axis=1) / np.sqrt(np.einsum("nm,nmk,nk->n", shares, gram, shares))
    root = np.sqrt(importance)
    expected = np.linalg.lstsq(standard * root[:, None], cosines * root, rcond=None)[0]
    weights = {"mean shares": (importance @ shares).round(4).tolist()}
    unfamiliar = float(np.quantile(standard @ expected, RARE))
    return Gate(_of_signs(found, centre, scale), _of_signs(expected, centre, scale), unfamiliar, weights)


def _of_signs(found: np.ndarray, centre: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Coefficients of signs as they are, from those of standardised ones."""
    slopes = (found[1:].T / scale).T
    return np.concatenate([[found[0] - centre @ slopes], slopes])


def gate_loss(
    found: np.ndarray, signs: np.ndarray, gram: np.ndarray, agreement: np.ndarray, importance: np.ndarray
) -> tuple[float, np.ndarray]:
    """Minus the mean cosine of the blend, with the penalty, and its slope."""
    coefficients = found.reshape(signs.shape[1], -1)
    shares = softmax(signs @ coefficients)
    along = (gram @ shares[:, :, None])[:, :, 0]  # (N, M)
    length = np.sqrt(np.maximum((along * shares).sum(axis=1), 1e-24))[:, None]
    cosine = (agreement * shares).sum(axis=1, keepdims=True) / length
    by_share = importance[:, None] * (agreement - cosine * along / length) / length
    by_logit = shares * (by_share - (shares * by_share).sum(axis=1, keepdims=True))
    penalised = np.concatenate([np.zeros_like(coefficients[:1]), coefficients[1:]])
    slope = 2 * PENALTY * penalised - signs.T @ by_logit
    return PENALTY * (penalised**2).sum() - float(importance @ cosine[:, 0]), slope.ravel()


def cross_fitted_gate(
    members: Sequence[np.ndarray], mean_targets: np.ndarray, importance: np.ndarray, fold: np.ndarray
) -> tuple[np.ndarray, list[Gate]]:
    """Out-of-fold rows (N, D), each by the gate fitted on the other folds, and these gates, one a fold."""
    return out_of_fold(members, fold, lambda others, which: fit_gate(others, mean_targets[which], importance[which]))


class GatePredictor(BlendPredictor):
    """Predictions of a run by a gate for any images; how long a row is says how good it is expected to be."""

    def __init__(self, run: Run, device: str = "auto"):
        super().__init__(run, device)
        self.gate = Gate.load(run.folder / Gate.file)
        if self.gate.coefficients.shape[1] != len(self.members):
            raise ValueError(f"{run.folder / Gate.file} is of another number of members than the run's: {AGAIN}")

    def combined(self, members: Sequence[np.ndarray]) -> np.ndarray:
        return self.gate.predict(members)

    @property
    def notes(self) -> dict:
        return self.gate.notes
