"""Where the embeddings of a dataset are kept, and computed where they are not: a folder for each encoder and content.

Its name has a digest of the encoder's fingerprint and of what was encoded, so a changed photo, caption or weight leads
to another folder, never to a stale row.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from clipknight.caches import used_cache
from clipknight.data.datasets import Dataset
from clipknight.data.images import may_be_scaled
from clipknight.embedding.cached_rows import cached
from clipknight.embedding.caption_encoding import CaptionRows
from clipknight.embedding.embeddings import Embeddings
from clipknight.embedding.image_encoder import ImageEncoder
from clipknight.embedding.image_encoding import ImageRows
from clipknight.embedding.raw_rows import ToCompute

import numpy as np


@dataclass(frozen=True, eq=False)
class CachedImages:
    """What is computed `of` the images of a dataset, and kept in `cache`."""

    of: str
    dataset: Dataset
    cache: str | Path | None

    def embeddings(
        self,
        encoder: ImageEncoder,
        encode: Callable,
        batch_size: int,
        workers: int,
        skip_unreadable: bool,
        parts: int = 1,
    ) -> Embeddings:
        """Rows by image id: `encode` gives those of a batch of pixels by the encoder, each of so many equal `parts`."""
        to_compute = ToCompute(self.paths, ImageRows(encoder, encode, batch_size, workers), batch_size, workers)
        fingerprint = encoder.fingerprint("visual")
        folder = self.folder(encoder.name, fingerprint)
        meta = {"encoder": encoder.name, "fingerprint": fingerprint, "of": self.of, "dataset": self.dataset.name}
        return cached(folder, self.dataset.ids, to_compute, meta, self.paths, skip_unreadable, parts)

    def are_kept(self, encoder: ImageEncoder) -> bool:
        """Whether this encoder's rows are there already."""
        return self.folder(encoder.name, encoder.fingerprint("visual")).is_dir()

    def folder(self, name: str, fingerprint: str) -> Path:
        return _cache_folder(self.cache, self.dataset, self.of, name, fingerprint, self.rows)

    @cached_property
    def paths(self) -> list[str]:
        return self.dataset.require_images().images["path"].tolist()

    @cached_property
    def rows(self) -> list[str]:
        """A line for each image, which changes with it."""
        stats = [Path(path).stat() for path in self.paths]
        return [
            f"{i}\t{s.st_size}\t{s.st_mtime_ns}{' scaled' * may_be_scaled(path, s.st_size)}"
            for i, path, s in zip(self.dataset.ids, self.paths, stats, strict=True)
        ]


@dataclass(frozen=True, eq=False)
class CachedCaptions:
    """What is computed `of` the captions of a dataset by the encoder called `name`, and kept in `cache`."""

    of: str
    name: str
    dataset: Dataset
    cache: str | Path | None

    def embeddings(self, fingerprint: str, rows: CaptionRows) -> Embeddings:
        """Unit rows by caption id."""
        meta = {"encoder": self.name, "fingerprint": fingerprint, "of": self.of, "dataset": self.dataset.name}
        to_compute = ToCompute(self.texts, rows, rows.chunk)
        return cached(self.folder(fingerprint), self.ids, to_compute, meta)

    def are_kept(self, fingerprint: str) -> bool:
        return self.folder(fingerprint).is_dir()

    def folder(self, fingerprint: str) -> Path:
        return _cache_folder(self.cache, self.dataset, self.of, self.name, fingerprint, self.rows)

    @cached_property
    def rows(self) -> list[str]:
        """A line for each caption, which changes with it."""
        return [f"{i}\t{caption}" for i, caption in zip(self.ids, self.texts, strict=True)]

    @property
    def ids(self) -> np.ndarray:
        return self.dataset.captions["caption_id"].to_numpy()

    @cached_property
    def texts(self) -> list[str]:
        return self.dataset.captions["caption"].tolist()


def cache_folder(dataset: Dataset, cache: str | Path | None = None) -> Path:
    """Where what belongs to a dataset is kept: below `cache`, by default outputs/embeddings."""
    return Path(cache or used_cache("embeddings")) / dataset.name


def _cache_folder(cache, dataset: Dataset, of: str, name: str, fingerprint: str, rows: list[str]) -> Path:
    digest = hashlib.sha256("\n".join([fingerprint, *rows]).encode()).hexdigest()[:12]
    return cache_folder(dataset, cache) / f"{of}-{Path(name).name.replace(':', '-')}-{digest}"
