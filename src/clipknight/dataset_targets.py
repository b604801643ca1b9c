"""A dataset together with what its captions mean: one target (M, 384) for each caption."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from clipknight.caption_table import Columns
from clipknight.datasets import Dataset, read_dataset
from clipknight.embedding_cache import CACHE, target_embeddings
from clipknight.embeddings import Embeddings
from clipknight.encoders import MINILM, load_target_encoder
from clipknight.metrics import avg_cos
from clipknight.runs import Run
from clipknight.splits import with_made_split

import numpy as np


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """Settings that every script with a dataset shares"""

    data: str
    """dataset folder (or table), in the layout you have it: see input/README.md"""
    images: str = ""
    """folder of the images, where the dataset does not say"""
    image_column: str = Columns.image
    """a table's column of image files"""
    caption_column: str = Columns.caption
    """a table's column of captions"""
    split_column: str = Columns.split
    """a table's column of splits"""
    target_encoder: str = MINILM
    """sentence-transformers name or folder: what predictions are to equal"""
    seed: int = 0
    """of all that is drawn: a split where the dataset names none, initial weights, order, augmentation, folds"""
    skip_unreadable: bool = False
    """predict the test split without its unreadable images, instead of stopping with their list"""
    device: str = "auto"
    """auto (CUDA, else Apple's MPS, else the CPU), cpu, cuda, mps"""


@dataclass(frozen=True, eq=False)
class CaptionedDataset:
    """`dataset` with splits, its `targets` by caption id, and the name of the target encoder."""

    dataset: Dataset
    targets: Embeddings
    target_name: str

    @classmethod
    def read(
        cls,
        data: str | Path,
        target_encoder: str = MINILM,
        device: str = "auto",
        seed: int = 0,
        columns: Columns = Columns(),
        images: str | None = None,
    ) -> "CaptionedDataset":
        """Read the folder, encode its captions (cached), and make a split where it names none."""
        dataset = read_dataset(data, columns, images)
        targets = target_embeddings(load_target_encoder(target_encoder, device), dataset, name=target_encoder)
        return cls(with_made_split(dataset, targets, Path(CACHE) / dataset.name, seed), targets, target_encoder)

    @classmethod
    def of(cls, s: DataSettings) -> "CaptionedDataset":
        """The dataset that a script's settings name."""
        columns = Columns(s.image_column, s.caption_column, s.split_column)
        return cls.read(s.data, s.target_encoder, s.device, s.seed, columns, s.images or None)

    def split(self, name: str) -> "CaptionedDataset":
        """One split, every image of which has a caption (ValueError otherwise)."""
        part = self.dataset.require_captions(name)
        return CaptionedDataset(part, self.targets.aligned_to(part.captions["caption_id"]), self.target_name)

    @property
    def image_of_caption(self) -> np.ndarray:
        """(M,) row of each caption's image."""
        return self.dataset.images.set_index("id").index.get_indexer(self.dataset.captions["id"])

    def mean_targets(self) -> np.ndarray:
        """(N, 384) mean of each image's targets, not unit: dotted with a unit row it gives their mean cosine."""
        starts = np.searchsorted(self.image_of_caption, np.arange(len(self.dataset)))  # captions stand in image order
        sums = np.add.reduceat(np.asarray(self.targets.vectors, dtype=np.float32), starts, axis=0)
        return sums / np.bincount(self.image_of_caption, minlength=len(self.dataset))[:, None].astype(np.float32)

    def avg_cos(self, predictions: Embeddings) -> float:
        """Che eq. 8 of `predictions` over all pairs of this dataset."""
        return avg_cos(predictions, self.targets, self.dataset.captions["id"].to_numpy())

    def drawn_targets(self, draw: np.random.Generator) -> np.ndarray:
        """(N, 384) the target of one caption of each image."""
        return self.targets.vectors[self.drawn_captions(draw)]

    def drawn_captions(self, draw: np.random.Generator) -> np.ndarray:
        """(N,) row of one caption of each image."""
        image_of = self.image_of_caption
        counts = np.bincount(image_of, minlength=len(self.dataset))
        return np.searchsorted(image_of, np.arange(len(counts))) + draw.integers(counts)


def images_of_split(run: Run, split: str, data: str = "", device: str = "auto") -> Dataset:
    """The images of a split of `data`, or of what the run was made on; a dataset without splits gets its made one."""
    known = {field.name for field in dataclasses.fields(DataSettings)}
    settings = DataSettings(**{name: value for name, value in run.settings.items() if name in known})
    settings = dataclasses.replace(settings, device=device, **({"data": data} if data else {}))
    columns = Columns(settings.image_column, settings.caption_column, settings.split_column)
    dataset = read_dataset(settings.data, columns, settings.images or None)
    if not dataset.has_splits and len(dataset.captions):
        dataset = CaptionedDataset.of(settings).dataset
    part = dataset.split(split)
    if not len(part):
        raise ValueError(f"no image in {split!r}: {dataset.summary()}")
    return part
