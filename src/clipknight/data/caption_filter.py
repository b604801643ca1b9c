"""The similarity filter of Che et al. 2023 (3.5.2, eq. 7): a caption too like one already kept is dropped."""

from dataclasses import dataclass
from pathlib import Path

from clipknight.data.caption_table import read_caption_table
from clipknight.data.datasets import Dataset
from clipknight.data.listing import among
from clipknight.data.names import ids_of
from clipknight.paths import existing

import numpy as np
import pandas as pd
from tqdm import tqdm

RECHECKED = 2**22  # numbers of a slice of float64 products


@dataclass(frozen=True, eq=False)
class Filtered:
    """`dropped_by` (N,): the kept row that dropped each row, -1 for a kept one. `cosine` (N,): to it; NaN if kept."""

    dropped_by: np.ndarray
    cosine: np.ndarray

    @property
    def kept(self) -> np.ndarray:
        """(N,) bool."""
        return self.dropped_by < 0


def filter_similar(
    vectors: np.ndarray,
    threshold: float = 0.85,
    order: np.ndarray | None = None,
    block_rows: int = 1024,
    kept_rows: int = 4096,
    progress: bool = False,
) -> Filtered:
    """Keep each of the unit rows of `vectors` (N, D) unless its cosine with one kept before it exceeds `threshold`.

    They are gone through in `order` (default: as they lie). A dropped row names the first kept one over the threshold.

    Exact: products are float32, and a pair within their rounding error of the threshold is decided in float64, where
    one pair's sum does not depend on the others. So `block_rows` x `kept_rows`, the products held at a time, bound
    the memory beside `vectors` (which may be memory-mapped) and change no result. ValueError for rows that are not
    unit, a threshold outside (0, 1), and an order that is no permutation.
    """
    order = np.arange(len(vectors)) if order is None else np.asarray(order)
    _check(vectors, threshold, order, block_rows, kept_rows)
    dropped_by, cosine = np.full(len(vectors), -1), np.full(len(vectors), np.nan)
    kept = np.empty(0, dtype=np.int64)
    with tqdm(total=len(order), desc="filter", unit="row", disable=not progress) as bar:
        for start in range(0, len(order), block_rows):
            block = order[start : start + block_rows]
            rows = _float32(vectors[block])
            left = np.arange(len(block))
            for first in range(0, len(kept), kept_rows):
                near = kept[first : first + kept_rows]
                hit, by = _first_over(rows[left], _float32(vectors[near]), threshold)
                dropped_by[block[left[hit]]] = near[by]
                left = np.delete(left, hit)  # only the first counts: later kept rows need not be seen
            hit, by = _within(rows[left], threshold)
            dropped_by[block[left[hit]]] = block[left[by]]
            kept = np.concatenate([kept, np.delete(block[left], hit)])
            bar.update(len(block))
    dropped = np.flatnonzero(dropped_by >= 0)
    cosine[dropped] = cosines_of_pairs(vectors, vectors, dropped, dropped_by[dropped])
    return Filtered(dropped_by, cosine)


def listed_captions(dataset: Dataset, table: str | Path) -> np.ndarray:
    """(M,) whether each caption of `dataset` is in a table of image,caption, one row for one caption.

    ValueError for rows that are none of its captions.
    """
    rows = read_caption_table(existing(table)).rows
    names = rows["name"].str.replace("\\", "/", regex=False)
    rows = rows.assign(id=names.where(among(names, dataset.images["id"]), ids_of(names)))
    wanted, there = (  # an image may have the same caption twice, and the table either or both
        pd.MultiIndex.from_frame(frame[["id", "caption"]].assign(time=frame.groupby(["id", "caption"]).cumcount()))
        for frame in (rows, dataset.captions)
    )
    at = there.get_indexer(wanted)
    if (at < 0).any():
        first = rows[at < 0].iloc[0]
        raise ValueError(
            f"{(at < 0).sum():,} of {len(rows):,} rows of {table} are no captions of {dataset.name}, the first in row "
            f"{first['number']}: {first['name']}, {first['caption']!r}"
        )
    return np.isin(np.arange(len(there)), at)


def _first_over(rows: np.ndarray, kept: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Which of `rows` exceed the threshold with any of `kept`, and the first of `kept` for each of them."""
    products = rows @ kept.T
    near = np.flatnonzero(products.max(axis=1, initial=-1) > threshold - _rounding(rows))
    over = over_threshold(products[near], rows[near], kept, threshold)
    hit = over.any(axis=1)
    return near[hit], over[hit].argmax(axis=1)


def _within(rows: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """The same for `rows` (n, D) among themselves: each against those before it that are kept."""
    over = np.tril(over_threshold(rows @ rows.T, rows, rows, threshold), -1)
    kept, hits, by = np.ones(len(rows), dtype=bool), [], []
    for row in np.flatnonzero(over.any(axis=1)):  # the few that are like an earlier one of their block
        kept[row] = not (near := over[row] & kept).any()
        if not kept[row]:
            hits.append(row)
            by.append(near.argmax())
    return np.array(hits, dtype=np.int64), np.array(by, dtype=np.int64)


def over_threshold(products: np.ndarray, a: np.ndarray, b: np.ndarray, threshold: float) -> np.ndarray:
    """Whether each pair's cosine exceeds the threshold: float32 `products`, and float64 where they cannot tell."""
    over = products > threshold
    i, j = np.nonzero(np.abs(products - threshold) <= _rounding(a))
    over[i, j] = cosines_of_pairs(a, b, i, j) > threshold
    return over


def cosines_of_pairs(a: np.ndarray, b: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """a[i] · b[j] in float64, pair by pair: no matrix product, whose order of summing follows its shape."""
    step = max(1, RECHECKED // a.shape[1])
    found = np.empty(len(i))
    for start in range(0, len(i), step):
        pairs = slice(start, start + step)
        products = _float32(a[i[pairs]]).astype(np.float64)
        products *= _float32(b[j[pairs]])
        found[pairs] = products.sum(axis=1)
    return found


def _rounding(rows: np.ndarray) -> float:
    """A bound, twice over, of the error of a float32 dot product of two unit rows, in whatever order it is summed."""
    return rows.shape[1] * np.finfo(np.float32).eps


def _float32(rows: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(rows, dtype=np.float32)


def _check(vectors, threshold: float, order: np.ndarray, block_rows: int, kept_rows: int) -> None:
    if not 0 < threshold < 1:
        raise ValueError(f"a threshold is a cosine above 0 and below 1, not {threshold}; 0.999 drops repetitions alone")
    if min(block_rows, kept_rows) < 1:
        raise ValueError(f"blocks have at least one row, not {min(block_rows, kept_rows)}")
    if not np.array_equal(np.sort(order), np.arange(len(vectors))):
        raise ValueError(f"the order is no permutation of the {len(vectors):,} rows")
    for start in range(0, len(vectors), block_rows):
        length = np.linalg.norm(_float32(vectors[start : start + block_rows]).astype(np.float64), axis=1)
        wrong = np.flatnonzero(~(np.abs(length - 1) < 1e-5))
        if len(wrong):
            row = start + wrong[0]
            raise ValueError(
                f"row {row} has length {length[wrong[0]]:.6g}: scale rows to length 1, as embeddings.unit does"
            )
