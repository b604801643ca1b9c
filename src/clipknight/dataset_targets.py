"""A dataset together with what its captions mean: one target (M, 384) for each caption."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clipknight.datasets import Dataset, read_dataset
from clipknight.embedding_cache import CACHE, target_embeddings
from clipknight.embeddings import Embeddings
from clipknight.encoders import MINILM, load_target_encoder
from clipknight.metrics import avg_cos
from clipknight.splits import with_made_split


@dataclass(frozen=True, eq=False)
class CaptionedDataset:
    """`dataset` with splits, its `targets` by caption id, and the name of the target encoder."""

    dataset: Dataset
    targets: Embeddings
    target_name: str

    @classmethod
    def read(cls, data: str | Path, target_encoder: str = MINILM, device: str = "auto", seed: int = 0):
        """Read the folder, encode its captions (cached), and make a split where it names none."""
        dataset = read_dataset(data)
        targets = target_embeddings(load_target_encoder(target_encoder, device), dataset)
        return cls(with_made_split(dataset, targets, Path(CACHE) / dataset.name, seed), targets, target_encoder)

    def split(self, name: str) -> "CaptionedDataset":
        """One split, every image of which has a caption (ValueError otherwise)."""
        part = self.dataset.require_captions(name)
        return CaptionedDataset(part, self.targets.aligned_to(part.captions["caption_id"]), self.target_name)

    @property
    def image_of_caption(self) -> np.ndarray:
        """(M,) row of each caption's image."""
        return self.dataset.images.set_index("id").index.get_indexer(self.dataset.captions["id"])

    def mean_targets(self) -> np.ndarray:
        """(N, 384) mean of each image's targets, not unit: 1 − cos to it, times its length, is the mean over captions."""
        starts = np.searchsorted(self.image_of_caption, np.arange(len(self.dataset)))  # captions stand in image order
        sums = np.add.reduceat(np.asarray(self.targets.vectors, dtype=np.float32), starts, axis=0)
        return sums / np.bincount(self.image_of_caption, minlength=len(self.dataset))[:, None].astype(np.float32)

    def avg_cos(self, predictions: Embeddings) -> float:
        """Che eq. 8 of `predictions` over all pairs of this dataset."""
        return avg_cos(predictions, self.targets, self.dataset.captions["id"].to_numpy())


