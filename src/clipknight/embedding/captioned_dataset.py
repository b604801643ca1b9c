"""A dataset together with what its captions mean: one target (M, 384) for each caption."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from clipknight.data.caption_augmentation import with_variants
from clipknight.data.caption_filter import listed_captions
from clipknight.data.datasets import Dataset, read_dataset
from clipknight.data.left_out import UnreadableMedia, note_unreadable, unreadable_images
from clipknight.data.listing import among
from clipknight.data.settings import Columns
from clipknight.embedding.cache import target_embeddings
from clipknight.embedding.cached_embeddings import cache_folder
from clipknight.embedding.embeddings import Embeddings, concatenate, unit
from clipknight.embedding.metrics import avg_cos
from clipknight.embedding.settings import MINILM, DataSettings, KeptDataSettings, SkippingSettings
from clipknight.embedding.splits import with_made_split
from clipknight.embedding.target_encoder import load_target_encoder
from clipknight.processes import in_main_process

import numpy as np
import pandas as pd

TABLES = ("images", "captions")  # of a dataset


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
        skip_unreadable: bool = False,
        text_alone: bool = False,
    ) -> "CaptionedDataset":
        """Read the folder, encode its captions (cached), and make a split where it names none.

        `skip_unreadable` leaves out images that are missing or cannot be read. Where `text_alone` is needed, images may
        be missing altogether, and none is opened.
        """
        dataset = read_dataset(data, columns, images, skip_unreadable, text_alone)
        targets = target_embeddings(load_target_encoder(target_encoder, device), dataset, name=target_encoder)
        dataset = with_made_split(dataset, targets, cache_folder(dataset), seed)
        if skip_unreadable and not text_alone:
            dataset = without_unreadable(dataset)
            targets = targets.aligned_to(dataset.captions["caption_id"])
        return cls(dataset, targets, target_encoder)

    @classmethod
    def of(cls, s: DataSettings, text_alone: bool = False) -> "CaptionedDataset":
        """The dataset that a script's settings name, filtered where they can say so."""
        skip = isinstance(s, SkippingSettings) and s.skip_unreadable
        options = s.target_encoder, s.device, s.seed, s.columns, s.images or None, skip, text_alone
        data = cls.read(s.data, *options)
        if not text_alone:
            data.dataset.require_images()
        return data.keeping(s.keep) if isinstance(s, KeptDataSettings) and s.keep else data

    def split(self, name: str) -> "CaptionedDataset":
        """One split, every image of which has a caption (ValueError otherwise)."""
        part = self.dataset.require_captions(name)
        return CaptionedDataset(part, self.targets.aligned_to(part.captions["caption_id"]), self.target_name)

    def keeping(self, table: str | Path) -> "CaptionedDataset":
        """Without the training captions that a table of image,caption lacks, and the images that have no other."""
        images, captions = self.dataset.images, self.dataset.captions
        train = images["split"] == "train"
        drop = among(captions["id"], images["id"][train]) & ~listed_captions(self.dataset, table)
        captions = captions[~drop].reset_index(drop=True)
        bare = train & ~among(images["id"], captions["id"])
        if bare.sum() == train.sum():
            raise ValueError(f"{table} keeps no training caption of {self.dataset.name}")
        if in_main_process():
            print(
                f"{table}: {drop.sum():,} training captions are left out, and {bare.sum():,} of {train.sum():,} "
                "training images, which have no other"
            )
        dataset = dataclasses.replace(self.dataset, images=images[~bare].reset_index(drop=True), captions=captions)
        return CaptionedDataset(dataset, self.targets.aligned_to(captions["caption_id"]), self.target_name)

    def augmented(self, variants: int, seed: int, device: str = "auto", **how) -> "CaptionedDataset":
        """With so many variants of each caption (Che 3.5.1), whose targets are encoded once and kept on disk.

        `how`: options of `augmented_caption`.
        """
        if not variants:
            return self
        captions = with_variants(self.dataset.captions, variants, seed, **how)
        new = captions[~among(captions["caption_id"], self.dataset.captions["caption_id"])]
        encoder = load_target_encoder(self.target_name, device)
        targets = target_embeddings(encoder, dataclasses.replace(self.dataset, captions=new), name=self.target_name)
        targets = concatenate([self.targets, targets]).aligned_to(captions["caption_id"])
        return CaptionedDataset(dataclasses.replace(self.dataset, captions=captions), targets, self.target_name)

    @property
    def image_of_caption(self) -> np.ndarray:
        """(M,) row of each caption's image."""
        return self.dataset.images.set_index("id").index.get_indexer(self.dataset.captions["id"])

    def mean_targets(self) -> np.ndarray:
        """(N, 384) mean of each image's targets, not unit: dotted with a unit row it gives their mean cosine."""
        starts = np.searchsorted(self.image_of_caption, np.arange(len(self.dataset)))  # captions stand in image order
        sums = np.add.reduceat(np.asarray(self.targets.vectors, dtype=np.float32), starts, axis=0)
        return sums / np.bincount(self.image_of_caption, minlength=len(self.dataset))[:, None].astype(np.float32)

    def target_sums(self) -> np.ndarray:
        """(N, 384) each image's sum of targets, all that its pairs' cosines depend on."""
        return self.mean_targets() * np.bincount(self.image_of_caption, minlength=len(self.dataset))[:, None]

    def avg_cos(self, predictions: Embeddings) -> float:
        """Che eq. 8 of `predictions` over all pairs of this dataset."""
        return avg_cos(predictions, self.targets, self.dataset.captions["id"].to_numpy())

    def cosines(self, rows: np.ndarray) -> np.ndarray:
        """(N,) mean cosine of each image's row, of `rows` (N, 384), to its targets."""
        return (unit(rows) * self.mean_targets()).sum(axis=1)

    def agreements(self) -> np.ndarray:
        """(N,) mean cosine between two captions of each image; NaN of one with a single caption."""
        counts = np.bincount(self.image_of_caption, minlength=len(self.dataset))
        pairs = np.where(counts > 1, counts * (counts - 1.0), np.nan)  # of unit targets, each with every other
        return ((self.target_sums() ** 2).sum(axis=1) - counts) / pairs

    def agreement(self) -> float | None:
        """Mean cosine between two captions of one image: what one person scores against another; None without two."""
        counts, each = np.bincount(self.image_of_caption, minlength=len(self.dataset)), self.agreements()
        two = np.isfinite(each)
        return float(np.average(each[two], weights=counts[two])) if two.any() else None

    def drawn_targets(self, draw: np.random.Generator) -> np.ndarray:
        """(N, 384) the target of one caption of each image."""
        return self.targets.vectors[self.drawn_captions(draw)]

    def drawn_captions(self, draw: np.random.Generator) -> np.ndarray:
        """(N,) row of one caption of each image."""
        image_of = self.image_of_caption
        counts = np.bincount(image_of, minlength=len(self.dataset))
        return np.searchsorted(image_of, np.arange(len(counts))) + draw.integers(counts)


def captioned_images(data: str | Path, s: DataSettings) -> CaptionedDataset:
    """All captioned images of a further dataset, whichever split they are in; what is not its own is as in `s`."""
    whole = CaptionedDataset.read(data, s.target_encoder, s.device, s.seed, s.columns.for_another())
    bare = whole.dataset.images["id"][~among(whole.dataset.images["id"], whole.dataset.captions["id"])]
    return dataclasses.replace(whole, dataset=whole.dataset.require_images().without(bare))


def joined(parts: Sequence[CaptionedDataset]) -> CaptionedDataset:
    """All images of `parts`, one after the other. ValueError for ids that two of them have."""
    first = parts[0]
    tables = (pd.concat([getattr(part.dataset, name) for part in parts], ignore_index=True) for name in TABLES)
    dataset = dataclasses.replace(first.dataset, **dict(zip(TABLES, tables)))
    return dataclasses.replace(first, dataset=dataset, targets=concatenate([part.targets for part in parts]))


def without_unreadable(dataset: Dataset) -> Dataset:
    """Only the images that can be decoded, and their captions. Videos are decoded where they are captioned."""
    if dataset.media != "image":
        return dataset
    if not (reasons := _unreadable_of(dataset)):
        return dataset
    note_unreadable(dataset.name, reasons)
    return dataset.without(dataset.images["id"][dataset.images["path"].isin(list(reasons))].to_numpy(dtype=object))


def refuse_unreadable(dataset: Dataset) -> None:
    """UnreadableMedia names the images that cannot be decoded: for a training that would meet them in mid-way."""
    if reasons := _unreadable_of(dataset):
        raise UnreadableMedia(reasons)


def _unreadable_of(dataset: Dataset) -> dict[str, str]:
    return unreadable_images(dataset.images["path"].tolist(), cache_folder(dataset) / "readable.parquet")
