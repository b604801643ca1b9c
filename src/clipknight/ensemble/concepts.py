"""The concepts member: a photo's embedding is the mean of what is recognised in it (ConSE, Norouzi et al. 2014).

A recogniser gives each of its concepts a probability. The prediction is the sum of the target embeddings of the texts
"a photo of a CONCEPT", weighted by these probabilities. No photo with a caption is needed, so it knows what training
never saw.
"""

import json
from pathlib import Path

from clipknight.data.datasets import Dataset
from clipknight.embedding.cache import unscaled_embeddings
from clipknight.embedding.clip import load_image_encoder
from clipknight.embedding.embeddings import UNRECOGNISED, Embeddings, unit
from clipknight.embedding.recognition import CHUNK_ROWS, Recogniser
from clipknight.files import atomic_folder
from clipknight.messages import shortened
from clipknight.saved_files import read_description, read_tensors

import numpy as np
from safetensors.numpy import save_file

AGAIN = "make the run again by src/recognise.py --overwrite"


class Concepts:
    """`recogniser` with the unit target embeddings `vectors` (C, T) of its C concepts, of which the `top` count.

    In a picture that looks less familiar to the recogniser than `familiar` nothing is recognised.
    """

    def __init__(self, recogniser: Recogniser, vectors: np.ndarray, top: int, familiar: float | None = None):
        self.recogniser, self.vectors, self.top, self.familiar = recogniser, vectors, min(top, len(vectors)), familiar

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Rows (N, T) of features (N, D): the direction is Norouzi et al.'s, eq. 6, the length how probable the first
        concept is, so that in a blend a guess counts the less, and next to nothing where nothing is recognised.
        """
        rows = np.empty((len(features), self.vectors.shape[1]), np.float32)
        for start in range(0, len(features), CHUNK_ROWS):
            chunk = slice(start, start + CHUNK_ROWS)
            probabilities, familiarity = self.recogniser.recognised(features[chunk])
            sure = probabilities.max(axis=1)
            if self.familiar is not None:
                sure = np.where(familiarity < self.familiar, UNRECOGNISED, sure)
            rows[chunk] = unit(self._shares(probabilities) @ self.vectors) * sure[:, None]
        return rows

    def named(self, features: np.ndarray, count: int = 3) -> list[list[tuple[str, float]]]:
        """The `count` most probable concepts of each row, with their probabilities, the most probable first."""
        probabilities = self.recogniser.probabilities(features)
        order = np.argsort(-probabilities, axis=1, kind="stable")[:, :count]
        return [[(self.recogniser.concepts[c], float(row[c])) for c in top] for row, top in zip(probabilities, order)]

    def _shares(self, probabilities: np.ndarray) -> np.ndarray:
        """The probabilities of the most probable concepts alone, at sum 1."""
        least = np.partition(probabilities, -self.top, axis=1)[:, -self.top, None]
        kept = np.where(probabilities >= least, probabilities, 0)
        return kept / kept.sum(axis=1, keepdims=True)

    def to_folder(self, folder: Path) -> None:
        """Write what `from_folder` reads; the folder appears whole."""
        known = self.recogniser
        with atomic_folder(folder) as temporary:
            arrays = {"weight": known.weight, "bias": known.bias, "vectors": self.vectors}
            save_file(
                {name: np.ascontiguousarray(a, np.float32) for name, a in arrays.items()},
                temporary / "concepts.safetensors",
            )
            description = {"concepts": list(known.concepts), "of_unit": known.of_unit, "top": self.top}
            description |= {} if self.familiar is None else {"familiar": self.familiar}
            (temporary / "concepts.json").write_text(json.dumps(description, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def from_folder(cls, folder: Path) -> "Concepts":
        """ValueError for files that are broken or do not fit each other."""
        types = {"concepts": (list,), "of_unit": (bool,), "top": (int,)}
        description = read_description(folder / "concepts.json", AGAIN, **types)
        tensors = read_tensors(folder / "concepts.safetensors", AGAIN)
        arrays = {name: tensor.float().numpy() for name, tensor in tensors.items()}
        count, familiar = len(description["concepts"]), description.get("familiar")
        if familiar is not None and not isinstance(familiar, (int, float)):
            raise ValueError(f"{folder / 'concepts.json'}: familiar is {shortened(familiar)}, not a number: {AGAIN}")
        if set(arrays) != {"weight", "bias", "vectors"} or any(len(array) != count for array in arrays.values()):
            raise ValueError(f"{folder / 'concepts.safetensors'} does not hold {count} concepts: {AGAIN}")
        known = Recogniser(description["concepts"], arrays["weight"], arrays["bias"], description["of_unit"])
        return cls(known, arrays["vectors"], description["top"], familiar)


class ConceptsPredictor:
    """Predictions of a run of src/recognise.py for any images."""

    def __init__(self, run, device: str = "auto"):
        settings = run.settings
        self.encoder = load_image_encoder(
            run.part(settings["encoder"]), device, settings["precision"], settings["features"]
        )
        if not self.encoder.is_version("visual", run.info["encoder_fingerprint"]):
            raise ValueError(f"run {run.name!r} was made with another version of {settings['encoder']!r}: {AGAIN}")
        self.concepts = Concepts.from_folder(run.folder / "best")
        self.name = run.name

    def predict(
        self, dataset: Dataset, batch_size: int = 64, workers: int = 2, skip_unreadable: bool = False
    ) -> Embeddings:
        """Predictions (N, target_dim) by image id, as long as the recogniser is sure of them."""
        features = self._features(dataset, batch_size, workers, skip_unreadable)
        return Embeddings(features.ids, self.concepts.predict(features.vectors), {"run": self.name})

    def recognised(self, dataset: Dataset, count: int = 3) -> list[list[tuple[str, float]]]:
        """The most probable concepts of each image, with their probabilities."""
        return self.concepts.named(self._features(dataset).vectors, count)

    def _features(
        self, dataset: Dataset, batch_size: int = 64, workers: int = 0, skip_unreadable: bool = False
    ) -> Embeddings:
        options = {"batch_size": batch_size, "workers": workers, "skip_unreadable": skip_unreadable}
        return unscaled_embeddings(self.encoder, dataset, **options)
