"""Rows of id + vector: what every stage reads and writes."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from clipknight.files import atomic_folder
from clipknight.saved_files import read_array, read_description

import numpy as np
import pandas as pd

DTYPES = ("float32", "float16")  # of vectors in parts; a folder by itself has the first
FILES = {"vectors.npy", "ids.parquet", "meta.json", "regions.npy"}  # of a saved folder
# In the meta of rows whose length is their confidence: what is below it is like nothing known.
UNFAMILIAR = "unfamiliar"
UNRECOGNISED = 1e-4  # length of the row of a picture that is like nothing its model knows; else rows are longer
LEAST_RECOGNISED = 2 * UNRECOGNISED  # what tells them apart
CHUNK_ROWS = 65_536  # rows checked at a time, so that a memory-mapped file larger than memory can be


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows of `vectors` (..., D) scaled to length 1; a zero row stays zero."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(length == 0, 1, length)


@dataclass(frozen=True)
class Embeddings:
    """`ids` (N,) unique strings, `vectors` (N, D) float32, and where they come from (`meta`: encoder, fingerprint, …).

    `regions` (N, n, D), where they were asked for, are the vectors of as many sub-regions of each image.
    Raises ValueError for duplicate ids, unequal lengths, NaN or infinity.
    """

    ids: np.ndarray
    vectors: np.ndarray
    meta: dict = field(default_factory=dict)
    regions: np.ndarray | None = None

    def __post_init__(self):
        object.__setattr__(self, "ids", np.asarray(self.ids, dtype=object))
        if self.vectors.ndim != 2 or len(self.vectors) != len(self.ids):
            raise ValueError(f"{len(self.ids)} ids do not fit vectors of shape {self.vectors.shape}")
        if self.regions is not None and (len(self.regions), self.regions.shape[-1]) != self.vectors.shape:
            raise ValueError(f"regions of shape {self.regions.shape} do not fit vectors of shape {self.vectors.shape}")
        index = pd.Index(self.ids)
        if not index.is_unique:
            raise ValueError(f"duplicate ids: {', '.join(index[index.duplicated()].unique()[:5])}")
        for start in range(0, len(self.ids), CHUNK_ROWS):
            finite = np.isfinite(self.vectors[start : start + CHUNK_ROWS]).all(axis=1)
            if not finite.all():
                raise ValueError(f"NaN or infinity in the vector of {self.ids[start + int(np.argmin(finite))]!r}")

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def dim(self) -> int:
        return self.vectors.shape[1]

    def aligned_to(self, ids: Sequence[str]) -> "Embeddings":
        """The rows of `ids`, in that order. KeyError lists the ids that have no row."""
        rows = pd.Index(self.ids).get_indexer(pd.Index(np.asarray(ids, dtype=object)))
        if (rows < 0).any():
            missing = np.asarray(ids, dtype=object)[rows < 0]
            raise KeyError(f"no vector for {len(missing)} of {len(ids)} ids: {', '.join(map(str, missing[:5]))}")
        if len(rows) == len(self) and (rows == np.arange(len(rows))).all():
            return self  # a memory-mapped file stays one
        regions = None if self.regions is None else self.regions[rows]
        return Embeddings(self.ids[rows], self.vectors[rows], self.meta, regions)

    def save(self, folder: str | Path) -> None:
        """Write `vectors.npy`, `ids.parquet`, `meta.json` and any `regions.npy` into `folder`, which appears whole."""
        with atomic_folder(folder) as temporary:
            self.write_to(temporary)

    def write_to(self, folder: Path, dtype: str = "float32") -> None:
        """Write the files of `save` into a folder that is there."""
        np.save(folder / "vectors.npy", np.asarray(self.vectors, dtype=dtype))
        if self.regions is not None:
            np.save(folder / "regions.npy", np.asarray(self.regions, dtype=dtype))
        pd.DataFrame({"id": self.ids}).to_parquet(folder / "ids.parquet")
        (folder / "meta.json").write_text(json.dumps(self.meta, indent=1, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path, fingerprint: str | None = None) -> "Embeddings":
        """Read a saved folder, vectors memory-mapped.

        FileNotFoundError when there is none; ValueError when a file is broken, or was made with an encoder of another
        `fingerprint`.
        """
        folder = Path(folder)
        remedy = f"delete {folder}, and the command that wrote it makes it again"
        if not (folder / "meta.json").is_file():
            raise FileNotFoundError(f"no embeddings in {folder}")
        meta = read_description(folder / "meta.json", remedy)
        check_fingerprint(folder, meta, fingerprint)
        ids = read_ids(folder / "ids.parquet", remedy)
        regions = folder / "regions.npy"
        regions = read_array(regions, remedy, rows=len(ids), ndims=(3,)) if regions.is_file() else None
        vectors = read_array(folder / "vectors.npy", remedy, rows=len(ids))
        try:
            return cls(ids, vectors, meta, regions)
        except ValueError as error:
            raise ValueError(f"{folder}: {error}: {remedy}") from error


def concatenate(parts: Sequence[Embeddings]) -> Embeddings:
    """All rows of `parts`, which share one dimension, under the first one's meta."""
    return Embeddings(
        np.concatenate([part.ids for part in parts]), np.concatenate([part.vectors for part in parts]), parts[0].meta
    )


def check_fingerprint(folder: Path, meta: Mapping, fingerprint: str | None) -> None:
    """ValueError for rows that `meta` says to be of an encoder of another `fingerprint`; None is any."""
    if fingerprint is not None and meta.get("fingerprint") != fingerprint:
        raise ValueError(
            f"{folder} was made with encoder {meta.get('encoder')!r} (fingerprint {meta.get('fingerprint')}), "
            f"not the present one ({fingerprint}): delete the folder to make it again"
        )


def read_ids(file: Path, remedy: str) -> np.ndarray:
    """(N,) str of an ids.parquet. ValueError where it is broken."""
    try:
        return pd.read_parquet(file, columns=["id"])["id"].to_numpy(dtype=object)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"{file} holds no ids ({str(error)[:160]}): {remedy}") from error
