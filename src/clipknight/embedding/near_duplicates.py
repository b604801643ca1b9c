"""The similarity filter past what can be compared pair by pair: rows are compared with those of their cells.

Of two rows over the threshold, one lies in a cell and the other looks into it; the few pairs that do not meet so are
missed, and `missed` says how many rows stay because of it. All else is as in `clipknight.data.caption_filter`: cosines
are exact, and the order decides what is kept.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from clipknight.data.caption_filter import Filtered, cosines_of_pairs, over_threshold
from clipknight.embedding.cells import SAMPLED_ROWS, cells_for, centres_of, nearest_cells, sample
from clipknight.embedding.row_parts import RowParts
from clipknight.waiting import progress_bar

import numpy as np

PROBES = 2  # cells that a row looks into, the first of which it lies in
BLOCK_ROWS, CELL_ROWS = 1024, 4096  # rows that look into a cell, and rows of it, whose products are held at a time
FIRST = 8  # of a row's pairs, those with the rows first in order, which were hardly dropped themselves
HELD_PAIRS = 2**24  # before they are brought down to the first of each row


def filter_by_cells(
    rows: RowParts, threshold: float, order: np.ndarray | None = None, cells: int = 0, progress: bool = False
) -> Filtered:
    """`filter_similar` of many rows, which are at length one; `cells` 0 for as many as suit them.

    The memory is that of the rows' numbers and pairs, some 100 bytes a row, whatever the width of the rows.
    """
    order = np.arange(len(rows)) if order is None else np.asarray(order)
    cells = cells or cells_for(len(rows))
    centres = centres_of(sample(rows, cells * SAMPLED_ROWS), cells)
    near = nearest_cells(rows, centres, min(PROBES, cells), progress)[order]
    by = _Places.of(rows, order, near, cells, threshold).dropped_by(progress)
    dropped_by, cosine = np.full(len(rows), -1), np.full(len(rows), np.nan)
    dropped = np.flatnonzero(by >= 0)
    dropped_by[order[dropped]] = order[by[dropped]]
    cosine[order[dropped]] = cosines_of_pairs(rows, rows, order[dropped], order[by[dropped]])
    return Filtered(dropped_by, cosine)


def missed(
    rows: RowParts, threshold: float, order: np.ndarray | None, filtered: Filtered, sampled: int = 1000
) -> float:
    """The share of `sampled` kept rows, evenly spread, that an exact comparison with all kept ones would drop."""
    place = np.arange(len(rows)) if order is None else np.argsort(order)
    some = sample(np.flatnonzero(filtered.kept), sampled)
    asked, found = rows[some], np.zeros(len(some), dtype=bool)
    for start, piece in rows.pieces(CELL_ROWS):
        here = np.arange(start, start + len(piece))
        before = filtered.kept[here] & (place[here] < place[some][:, None])
        found |= (over_threshold(asked @ piece.T, asked, piece, threshold) & before).any(axis=1)
    return float(found.mean())


@dataclass(frozen=True, eq=False)
class _Places:
    """Rows by their place in the order, sorted by the cells they look into: cell c has those from `starts[c]` on."""

    rows: RowParts
    order: np.ndarray
    near: np.ndarray  # (N, probes) the cells that each looks into
    looking: np.ndarray  # (N * probes,) places, by cell
    lying: np.ndarray  # (N * probes,) whether each lies there
    starts: np.ndarray
    threshold: float

    @classmethod
    def of(cls, rows: RowParts, order: np.ndarray, near: np.ndarray, cells: int, threshold: float) -> "_Places":
        by_cell = np.argsort(near.ravel(), kind="stable")
        starts = np.searchsorted(near.ravel()[by_cell], np.arange(cells + 1))
        looking, probe = np.divmod(by_cell, near.shape[1])
        return cls(rows, order, near, looking.astype(np.int32), probe == 0, starts, threshold)

    def dropped_by(self, progress: bool) -> np.ndarray:
        """(N,) the place of what dropped each, -1 for those kept: the greedy pass over the pairs, in order."""
        later, earlier = self._pairs(progress)
        by, kept = np.full(len(self.order), -1), np.ones(len(self.order), dtype=bool)
        paired, begins = np.unique(later, return_index=True)
        for place, begin, end in zip(paired.tolist(), begins.tolist(), [*begins[1:].tolist(), len(later)]):
            firsts = earlier[begin:end]
            alive = firsts[kept[firsts]]
            if not len(alive) and end - begin == FIRST:  # there may be more, and one of them kept
                alive = self._kept_before(place, kept)
            if len(alive):
                by[place], kept[place] = alive[0], False
        return by

    def _pairs(self, progress: bool) -> tuple[np.ndarray, np.ndarray]:
        """Pairs over the threshold, places `later`, rising, and `earlier`: the FIRST of each row."""
        found, held, cells = [], 0, len(self.starts) - 1
        with progress_bar(total=cells, desc="near-duplicates", unit="cell", disable=not progress) as bar:
            for cell in range(cells):
                for pairs in self._pairs_in(cell):
                    found.append(pairs)
                    held += len(pairs[0])
                if held > HELD_PAIRS:
                    found, held = [_first_of_each(found)], 0
                bar.update()
        return _first_of_each(found)

    def _pairs_in(self, cell: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The same among those that look into a cell and those that lie in it, a block of products at a time."""
        stretch = slice(self.starts[cell], self.starts[cell + 1])
        looking = self.looking[stretch]
        lying = looking[self.lying[stretch]]
        for first in range(0, len(lying), CELL_ROWS):
            there = lying[first : first + CELL_ROWS]
            vectors = self.rows[self.order[there]]
            for start in range(0, len(looking), BLOCK_ROWS):
                block = looking[start : start + BLOCK_ROWS]
                asked = self.rows[self.order[block]]
                i, j = np.nonzero(over_threshold(asked @ vectors.T, asked, vectors, self.threshold))
                pairs = np.stack([block[i], there[j]])
                pairs = pairs[:, pairs[0] != pairs[1]]  # each finds itself
                yield _first_of_each([(pairs.max(axis=0), pairs.min(axis=0))])

    def _kept_before(self, place: int, kept: np.ndarray) -> np.ndarray:
        """Places of the kept rows before it, among all that look into its cells, that are over the threshold."""
        others = np.unique(
            np.concatenate([self.looking[self.starts[c] : self.starts[c + 1]] for c in self.near[place]])
        )
        others = others[kept[others] & (others < place)]
        own = self.rows[self.order[[place]]]
        vectors = self.rows[self.order[others]]
        return others[over_threshold(own @ vectors.T, own, vectors, self.threshold)[0]]


def _first_of_each(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (later, earlier) once each, in order, and of each `later` the FIRST alone."""
    if not pairs:
        return np.empty(0, np.int32), np.empty(0, np.int32)
    later, earlier = (np.concatenate(parts) for parts in zip(*pairs))
    codes = np.unique(later.astype(np.int64) << 32 | earlier)
    later, earlier = (codes >> 32).astype(np.int32), (codes & 0xFFFFFFFF).astype(np.int32)
    rank = np.arange(len(later)) - np.searchsorted(later, later)
    return later[rank < FIRST], earlier[rank < FIRST]
