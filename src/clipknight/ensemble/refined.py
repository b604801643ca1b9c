"""A prediction refined among captions: Model B whose query is another run's prediction."""

from clipknight.data.datasets import Dataset
from clipknight.embedding.embeddings import Embeddings
from clipknight.ensemble.knn import DistanceWeightedKNN
from clipknight.ensemble.predictors import load_predictor
from clipknight.ensemble.saved_knn import load_knn
from clipknight.training.runs import Run


class RefinedPredictor:
    """Predictions of the run that `from_` names, each replaced by the weighted mean of the captions nearest to it.

    The captions are of the domain that is to be described: those of another domain adapt the run to it, without an
    image of that domain.
    """

    def __init__(self, run: Run, device: str = "auto"):
        self.source = load_predictor(Run.open(run.part(run.settings["from_"])), device)
        self.knn = load_knn(run.folder / "best", "refine it again, as src/refine.py --overwrite does")
        self.name = run.name

    def predict(
        self, dataset: Dataset, batch_size: int = 64, workers: int = 2, skip_unreadable: bool = False
    ) -> Embeddings:
        """Unit predictions (N, target_dim) by image id."""
        rows = self.source.predict(dataset, batch_size, workers, skip_unreadable)
        return refined(self.knn, rows, self.name)


def refined(knn: DistanceWeightedKNN, rows: Embeddings, run: str) -> Embeddings:
    """`rows` (N, target_dim) of a source, each as the unit mean of the captions near it, for the run of that name."""
    return Embeddings(rows.ids, knn.predict(rows.vectors), {"run": run})
