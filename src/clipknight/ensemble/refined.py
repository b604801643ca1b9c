"""A prediction refined among captions: Model B whose query is another run's prediction."""

from pathlib import Path

from clipknight.data.datasets import Dataset
from clipknight.embedding.embeddings import Embeddings
from clipknight.ensemble.predictors import load_predictor
from clipknight.ensemble.saved_knn import load_knn
from clipknight.ensemble.weighted_neighbors import WeightedNeighbors
from clipknight.files import atomic_file
from clipknight.saved_files import read_tensors
from clipknight.training.runs import Run

import numpy as np
from safetensors.numpy import save_file

SHIFT = "shift.safetensors"
AGAIN = "refine it again, as src/refine.py --overwrite does"


class RefinedPredictor:
    """Predictions of the run that `from_` names, each replaced by the weighted mean of the captions nearest to it.

    The captions are of the domain that is to be described: those of another domain adapt the run to it, without an
    image of that domain.
    """

    def __init__(self, run: Run, device: str = "auto"):
        self.source = load_predictor(Run.open(run.part(run.settings["from_"])), device)
        self.knn = load_knn(run.folder / "best", AGAIN)
        self.shift = load_shift(run.folder / "best")
        self.name = run.name

    def predict(
        self, dataset: Dataset, batch_size: int = 64, workers: int = 2, skip_unreadable: bool = False
    ) -> Embeddings:
        """Predictions (N, target_dim) by image id, as long as the captions near them agree."""
        rows = self.source.predict(dataset, batch_size, workers, skip_unreadable)
        return refined(self.knn, rows, self.shift, self.name)


def refined(knn: WeightedNeighbors, rows: Embeddings, shift: np.ndarray | float, run: str) -> Embeddings:
    """`rows` (N, target_dim) of a source less `shift`, each as the mean of the captions near, for the run so named."""
    return Embeddings(rows.ids, knn.predict(rows.vectors - shift), {"run": run})


def save_shift(shift: np.ndarray, folder: Path) -> None:
    """Write what `load_shift` reads into a run's folder."""
    with atomic_file(folder / SHIFT) as temporary:
        save_file({"shift": np.asarray(shift, np.float32)}, temporary)


def load_shift(folder: Path) -> np.ndarray | float:
    """(target_dim,) what is taken off each prediction; runs of before 0.4.0 took nothing off."""
    return read_tensors(folder / SHIFT, AGAIN)["shift"].numpy() if (folder / SHIFT).is_file() else 0.0
