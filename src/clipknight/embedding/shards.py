"""Embeddings in parts: more rows than one file or one memory should hold, read lazily as one.

    <folder>/manifest.json          how many rows, of what dim and dtype, what made them, and each part's digest
    <folder>/parts/<name>/          ids.parquet, vectors.npy and meta.json, as in a folder of `Embeddings`, and index/
    <folder>/index/                 where the row of each id is (clipknight/embedding/id_index.py)

A folder of `Embeddings` is read as one part. `clipknight.embedding.shard_writer` writes the others.
"""

import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from clipknight.embedding.embeddings import DTYPES, Embeddings, check_fingerprint, read_ids
from clipknight.embedding.id_index import IdIndex
from clipknight.messages import a_few
from clipknight.saved_files import read_array, read_description

import numpy as np

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Part:
    """A folder with the ids and vectors of so many `rows`."""

    folder: Path
    rows: int
    remedy: str

    @property
    def ids(self) -> np.ndarray:
        """(N,) str, read anew each time."""
        return read_ids(self.folder / "ids.parquet", self.remedy)

    @property
    def vectors(self) -> np.ndarray:
        """(N, D), memory-mapped."""
        return read_array(self.folder / "vectors.npy", self.remedy, rows=self.rows, dtypes=DTYPES)

    @property
    def index(self) -> IdIndex:
        """Where the part's ids are in it."""
        return IdIndex.open(self.folder / "index", self.remedy, self.rows)


@dataclass(frozen=True, eq=False)
class ShardedEmbeddings:
    """Rows of many parts, of which no more than is asked for is in memory."""

    folder: Path
    each: tuple[Part, ...]
    dim: int
    dtype: np.dtype
    meta: dict
    left_out: int = 0  # of what was asked for, and has no row

    @classmethod
    def open(cls, folder: str | Path, fingerprint: str | None = None) -> "ShardedEmbeddings":
        """The rows in `folder`. FileNotFoundError and ValueError as of `Embeddings.load`."""
        folder = Path(folder)
        remedy = f"delete {folder}, and the command that wrote it makes it again"
        if not (folder / MANIFEST).is_file():
            return _one_part(folder, fingerprint, remedy)
        types = {"rows": (int,), "dim": (int,), "dtype": (str,), "meta": (dict,), "parts": (list,)}
        manifest = read_description(folder / MANIFEST, remedy, **types)
        check_fingerprint(folder, manifest["meta"], fingerprint)
        parts = [part for part in manifest["parts"] if part["rows"]]
        each = tuple(Part(folder / "parts" / part["name"], part["rows"], remedy) for part in parts)
        left_out = sum(part["left_out"] for part in manifest["parts"])
        if sum(part.rows for part in each) != manifest["rows"] or manifest["dtype"] not in DTYPES:
            raise ValueError(f"{folder / MANIFEST} contradicts itself: {remedy}")
        return cls(folder, each, manifest["dim"], np.dtype(manifest["dtype"]), manifest["meta"], left_out)

    def __len__(self) -> int:
        return sum(part.rows for part in self.each)

    def parts(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Ids (N,) and memory-mapped vectors (N, D) of each part, in the rows' order."""
        for part in self.each:
            yield part.ids, part.vectors

    def rows_of(self, ids: Sequence[str]) -> np.ndarray:
        """(N,) the rows of `ids`. KeyError lists the ids that have no row."""
        found = self._index.find(ids)
        if (found < 0).any():
            missing = np.asarray(ids, dtype=object)[found < 0]
            raise KeyError(f"no vector for {len(missing):,} of {len(ids):,} ids: {a_few(missing)}")
        return found

    def vectors_at(self, rows: np.ndarray) -> np.ndarray:
        """(N, D) vectors of these rows, in their order; each part is opened once."""
        vectors = np.empty((len(rows), self.dim), dtype=self.dtype)
        for part, at, inside in self._by_part(rows):
            vectors[at] = part.vectors[inside]
        return vectors

    def ids_at(self, rows: np.ndarray) -> np.ndarray:
        """(N,) the ids of these rows, in their order."""
        ids = np.empty(len(rows), dtype=object)
        for part, at, inside in self._by_part(rows):
            ids[at] = part.ids[inside]
        return ids

    def aligned_to(self, ids: Sequence[str]) -> Embeddings:
        """The rows of `ids`, in that order, in memory. KeyError lists the ids that have no row."""
        return Embeddings(np.asarray(ids, dtype=object), self.vectors_at(self.rows_of(ids)), self.meta)

    def part_of(self, row: int) -> str:
        """The name of the part that a row is in."""
        return self.each[bisect.bisect_right(self._starts, row) - 1].folder.name

    def _by_part(self, rows: np.ndarray) -> Iterator[tuple[Part, np.ndarray, np.ndarray]]:
        """Each part that has some of `rows`, their places among them, and their rows inside it in order."""
        order = np.argsort(rows, kind="stable")
        ends = np.searchsorted(np.asarray(rows)[order], [*self._starts[1:], len(self)])
        start = 0
        for part, first, end in zip(self.each, self._starts, ends.tolist()):
            if end > start:
                at = order[start:end]
                yield part, at, np.asarray(rows)[at] - first
            start = end

    @cached_property
    def _starts(self) -> list[int]:
        return np.cumsum([0, *(part.rows for part in self.each)]).tolist()[:-1]

    @cached_property
    def _index(self) -> IdIndex:
        if not (self.folder / MANIFEST).is_file():
            return IdIndex.of(self.each[0].ids)
        return IdIndex.open(self.folder / "index", self.each[0].remedy, len(self))


def _one_part(folder: Path, fingerprint: str | None, remedy: str) -> ShardedEmbeddings:
    """A folder of `Embeddings`."""
    if not (folder / "meta.json").is_file():
        raise FileNotFoundError(f"no embeddings in {folder}")
    meta = read_description(folder / "meta.json", remedy)
    check_fingerprint(folder, meta, fingerprint)
    vectors = read_array(folder / "vectors.npy", remedy, dtypes=DTYPES)
    part = Part(folder, len(vectors), remedy)
    return ShardedEmbeddings(folder, (part,), vectors.shape[1], vectors.dtype, dict(meta))
