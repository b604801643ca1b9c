"""Where the row of an id is, among more ids than fit in memory: digests of the ids in order, on disk.

An id counts as the 128 bits of its digest. Two of a billion ids share them with a chance of 10^-21.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from clipknight.saved_files import read_array

import numpy as np

NAMES = ("hashes", "checks", "rows")  # the first and the last 64 bits of each digest, in order, and the id's row
MERGED_ROWS = 1 << 22  # rows in memory while parts are merged


@dataclass(frozen=True, eq=False)
class IdIndex:
    """Three arrays (N,) of uint64, in memory or memory-mapped: `hashes` in order, `checks` and `rows` beside them."""

    hashes: np.ndarray
    checks: np.ndarray
    rows: np.ndarray

    @classmethod
    def of(cls, ids: Sequence[str]) -> "IdIndex":
        """The index of `ids`, made in memory."""
        digests = _digests(ids)
        order = np.lexsort((digests[:, 1], digests[:, 0]))
        return cls(digests[order, 0], digests[order, 1], order.astype(np.uint64))

    @classmethod
    def open(cls, folder: Path, remedy: str, rows: int) -> "IdIndex":
        """A saved index, memory-mapped. ValueError where its files are broken, or are not of so many rows."""
        options = {"rows": rows, "ndims": (1,), "dtypes": ("uint64",)}
        return cls(*(read_array(folder / f"{name}.npy", remedy, **options) for name in NAMES))

    def save(self, folder: Path) -> None:
        folder.mkdir()
        for name in NAMES:
            np.save(folder / f"{name}.npy", getattr(self, name))

    def find(self, ids: Sequence[str]) -> np.ndarray:
        """(N,) int64 rows of `ids`, -1 for those that have none."""
        digests, found = _digests(ids), np.full(len(ids), -1)
        left = np.argsort(digests[:, 0])  # in order, neighbouring pages of a mapped file are read one after the other
        at = np.empty(len(ids), dtype=np.int64)
        at[left] = np.searchsorted(self.hashes, digests[left, 0])
        while len(left):  # more than once where ids share the first half of their digest
            left = left[at[left] < len(self.hashes)]
            left = left[self.hashes[at[left]] == digests[left, 0]]
            same = self.checks[at[left]] == digests[left, 1]
            found[left[same]] = self.rows[at[left[same]]]
            left = left[~same]
            at[left] += 1
        return found


def write_merged(indexes: Sequence[IdIndex], folder: Path, duplicates: Callable[[list[int]], ValueError]) -> None:
    """Write into `folder` one index of all parts' ids; a part's rows follow those of the parts before it.

    It takes the memory of MERGED_ROWS rows. Raises `duplicates` of the rows whose ids are others' too.
    """
    total = sum(len(index.hashes) for index in indexes)
    options = {"mode": "w+", "dtype": np.uint64, "shape": (total,)}
    files = [np.lib.format.open_memmap(folder / f"{name}.npy", **options) for name in NAMES]
    start = 0
    for merged in _in_order(indexes, total):
        same = (merged.hashes[1:] == merged.hashes[:-1]) & (merged.checks[1:] == merged.checks[:-1])
        if same.any():
            twice = np.flatnonzero(same)
            raise duplicates(sorted(int(row) for row in merged.rows[np.union1d(twice, twice + 1)]))
        stop = start + len(merged.hashes)
        for file, name in zip(files, NAMES, strict=True):
            file[start:stop] = getattr(merged, name)
        start = stop
    for file in files:
        file.flush()


def _in_order(indexes: Sequence[IdIndex], total: int) -> Iterator[IdIndex]:
    """All digests in order, a range of hashes at a time. They spread evenly, so ranges hold nearly as many each."""
    starts = np.cumsum([0, *(len(index.hashes) for index in indexes)])[:-1].astype(np.uint64)
    ranges = max(1, -(-total // MERGED_ROWS))
    bounds = [np.uint64((1 << 64) * i // ranges) for i in range(1, ranges)]
    cuts = [[0, *np.searchsorted(index.hashes, bounds).tolist(), len(index.hashes)] for index in indexes]
    for i in range(ranges):
        slices = [slice(cut[i], cut[i + 1]) for cut in cuts]
        hashes, checks = (
            np.concatenate([getattr(index, name)[piece] for index, piece in zip(indexes, slices)])
            for name in ("hashes", "checks")
        )
        rows = np.concatenate([index.rows[piece] + start for index, piece, start in zip(indexes, slices, starts)])
        order = np.lexsort((checks, hashes))
        yield IdIndex(hashes[order], checks[order], rows[order])


def _digests(ids: Sequence[str]) -> np.ndarray:
    """(N, 2) uint64 of N ids."""
    joined = b"".join(blake2b(str(i).encode(), digest_size=16).digest() for i in ids)
    return np.frombuffer(joined, dtype="<u8").reshape(-1, 2).astype(np.uint64)
