"""Rows that lie in several arrays, memory-mapped, read as one: only what is asked for comes into memory."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from clipknight.embedding.lengths import unit_rows

import numpy as np


class RowParts:
    """The rows (N, D) of `parts`, arrays of one width, one after the other; read as float32 however they are stored.

    `at_length_one`: they are scaled so as they are read, which those stored as float16 are not quite. `files`: where
    the parts are, for other processes to read them.

    >>> rows = RowParts([np.zeros((2, 3), np.float16), np.ones((1, 3), np.float16)])
    >>> rows.shape, rows[[2, 0]][:, 0].tolist()
    ((3, 3), [1.0, 0.0])
    """

    ndim, dtype = 2, np.dtype(np.float32)

    def __init__(self, parts: Sequence[np.ndarray], at_length_one: bool = False, files: Sequence[Path] = ()):
        self.parts, self.at_length_one, self.files = list(parts), at_length_one, list(files)
        if len(widths := {part.shape[1:] for part in self.parts}) != 1:
            raise ValueError(f"parts of one width are read as one, not of {sorted(widths)}")
        self.starts = np.cumsum([0, *map(len, self.parts)])
        self.shape = (int(self.starts[-1]), *widths.pop())

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        """Rows by a slice of step 1, or by their numbers (n,) in any order."""
        if isinstance(rows, slice):
            rows = range(*rows.indices(len(self)))
            return self._stretch(rows.start, rows.stop) if rows.step == 1 else self[np.asarray(rows)]
        rows = np.asarray(rows)
        found = np.empty((len(rows), self.shape[1]), dtype=np.float32)
        order = np.argsort(rows, kind="stable")
        ends = np.searchsorted(rows[order], self.starts)
        for part, start, first, last in zip(self.parts, self.starts, ends, ends[1:]):
            if last > first:
                found[order[first:last]] = part[rows[order[first:last]] - start]
        return self._scaled(found)

    def pieces(self, size: int) -> Iterator[tuple[int, np.ndarray]]:
        """The first row's number and the rows (at most `size`, D) of each piece; none crosses from part to part."""
        for part, start in zip(self.parts, self.starts):
            for first in range(0, len(part), size):
                yield int(start) + first, self._scaled(np.asarray(part[first : first + size], dtype=np.float32))

    def _stretch(self, start: int, stop: int) -> np.ndarray:
        found = np.empty((max(0, stop - start), self.shape[1]), dtype=np.float32)
        for part, first in zip(self.parts, self.starts):
            begin, end = max(start, first), min(stop, first + len(part))
            if begin < end:
                found[begin - start : end - start] = part[begin - first : end - first]
        return self._scaled(found)

    def _scaled(self, rows: np.ndarray) -> np.ndarray:
        return unit_rows(rows) if self.at_length_one and len(rows) else rows
