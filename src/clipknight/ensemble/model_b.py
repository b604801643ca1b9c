"""Model B: the distance-weighted KNN regressor on an encoder's embeddings (Che et al. 2023, section 3.4)."""

from clipknight.data.datasets import Dataset
from clipknight.embedding.clip import load_image_encoder
from clipknight.embedding.embeddings import Embeddings
from clipknight.ensemble.saved_knn import load_knn
from clipknight.ensemble.views import image_predictions


class ModelBPredictor:
    """Predictions of a fitted run for any images. ValueError if its encoder has changed since it was fitted."""

    def __init__(self, run, device: str = "auto"):
        settings = run.settings
        self.encoder = load_image_encoder(
            run.part(settings["encoder"]), device, settings["precision"], settings["features"]
        )
        fitted = run.info["encoder_fingerprint"]
        if not self.encoder.is_version("visual", fitted):
            raise ValueError(
                f"run {run.name!r} was fitted on another version of encoder {settings['encoder']!r} "
                f"({fitted}): fit it again with src/train_b.py --overwrite"
            )
        self.knn = load_knn(run.folder / "best")
        self.at_length = settings.get("row_length", "one") == "one"
        self.flip_tta = settings.get("flip_tta", False)
        self.tta_sizes = settings.get("tta_sizes", [])
        self.name = run.name

    def predict(
        self, dataset: Dataset, batch_size: int = 64, workers: int = 2, skip_unreadable: bool = False
    ) -> Embeddings:
        """Predictions (N, target_dim) by image id: unit, or as long as the neighbours agree."""
        views = {"flip_tta": self.flip_tta, "tta_sizes": self.tta_sizes, "at_length": self.at_length}
        options = {"batch_size": batch_size, "workers": workers, "skip_unreadable": skip_unreadable}
        rows = image_predictions(self.encoder, self.knn.predict, dataset, **views, **options)
        return Embeddings(rows.ids, rows.vectors, {"run": self.name})
