"""Model B past memory: fitted on rows in parts, with an index that is built and searched on disk."""

from collections.abc import Sequence
from pathlib import Path

from clipknight.embedding.embeddings import CHUNK_ROWS
from clipknight.embedding.row_parts import RowParts
from clipknight.ensemble.disk_index import build_on_disk
from clipknight.ensemble.index_choice import choose_index
from clipknight.ensemble.settings import ON_DISK
from clipknight.ensemble.weighted_neighbors import WeightedNeighbors

import numpy as np

PART_ROWS = 2**18


def fit_on_disk(
    knn: WeightedNeighbors, keys: Sequence[np.ndarray], values: Sequence[np.ndarray], folder: Path
) -> WeightedNeighbors:
    """Fit `knn` to the parts of its keys (n, d) and values (n, t), memory-mapped arrays; `folder` gets its index.

    The same predictions as from `fit` but for the rounding of keys that are stored in 16 bits. ValueError for keys
    without a direction, and for an index that needs all keys in memory.
    """
    knn.check_parameters()
    keys, values = RowParts(keys, at_length_one=knn.metric == "cosine"), RowParts(values)
    if len(keys) != len(values):
        raise ValueError(f"{len(keys):,} keys do not fit {len(values):,} values")
    _check(keys)
    kind = choose_index(*keys.shape)[0] if knn.index == "auto" else knn.index
    if kind == "ivf" and knn.index == "auto":
        kind = "ivf_sq8"
    if kind not in ("exact", *ON_DISK):
        raise ValueError(f"index {kind!r} holds all keys in memory: for keys in parts choose {' or '.join(ON_DISK)}")
    index = None if kind == "exact" else build_on_disk(keys, kind, knn.index_params or {}, folder)
    knn.index_folder_ = folder
    return knn.hold(keys, values, index, kind)


def in_parts(rows: np.ndarray) -> list[np.ndarray]:
    """The rows of an array, memory-mapped or not, in stretches that are indexed one by one."""
    return [rows[start : start + PART_ROWS] for start in range(0, len(rows), PART_ROWS)]


def _check(keys: RowParts) -> None:
    for start, rows in RowParts(keys.parts).pieces(CHUNK_ROWS):
        length = np.abs(rows).max(axis=1)
        if (wrong := ~(np.isfinite(length) & (length > 0))).any():
            row = int(np.argmax(wrong))
            raise ValueError(f"key {start + row:,} is zero or not finite, and has no direction: leave it out")
