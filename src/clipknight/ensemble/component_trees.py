"""Boosted trees that say what a blend leaves unsaid along the leading components of its targets."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from clipknight.embedding.embeddings import unit

import lightgbm
import numpy as np

COMPONENTS = 24  # the leading ones: along the others a blend leaves little but noise
ROUNDS = (0, 10, 30, 100)  # trees a component to choose from; 0 leaves the blend as it is
PARAMETERS = {
    "learning_rate": 0.05,
    "num_leaves": 7,
    "min_data_in_leaf": 30,
    "lambda_l2": 1.0,
    "feature_fraction": 0.3,
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
}


@dataclass(frozen=True, eq=False)
class ComponentTrees:
    """One gradient-boosted regression (LightGBM) for each of C orthonormal `components` (D, C)."""

    components: np.ndarray
    boosters: tuple[lightgbm.Booster, ...]

    @classmethod
    def fit(
        cls, members: Sequence[np.ndarray], left: np.ndarray, weight: np.ndarray, components: np.ndarray, seed: int = 0
    ) -> "ComponentTrees":
        """Learn `left` (N, D) from M members' rows (N, D); each row counts `weight` (N,) times."""
        inputs = _along(members, components)
        rows = lightgbm.Dataset(inputs, weight=weight, params=PARAMETERS).construct()  # bins found once, for all
        boosters = [
            lightgbm.train({**PARAMETERS, "seed": seed}, rows.set_label(wanted), max(ROUNDS))
            for wanted in (left @ components).T
        ]
        return cls(components.astype(np.float32), tuple(boosters))

    def predict(self, members: Sequence[np.ndarray], rounds: int) -> np.ndarray:
        """What to add to the blend, (N, D), by the first `rounds` trees of each component."""
        if not rounds:
            return np.zeros_like(members[0])
        inputs = _along(members, self.components)
        along = np.stack([booster.predict(inputs, num_iteration=rounds) for booster in self.boosters], axis=1)
        return along @ self.components.T

    def to_json(self, rounds: int) -> str:
        """The first `rounds` trees of each component, in LightGBM's own text."""
        return json.dumps([booster.model_to_string(num_iteration=rounds) for booster in self.boosters])

    @classmethod
    def from_json(cls, components: np.ndarray, text: str) -> "ComponentTrees":
        """`to_json` read back."""
        return cls(components, tuple(lightgbm.Booster(model_str=model) for model in json.loads(text)))


def _along(members: Sequence[np.ndarray], components: np.ndarray) -> np.ndarray:
    """(N, M·C) the members' unit rows along the components, side by side."""
    return np.concatenate([unit(np.asarray(member, np.float32)) @ components for member in members], axis=1)
