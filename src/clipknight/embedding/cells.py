"""Cells: rows sorted by the nearest of many centres, so that what is near lies together. faiss finds the centres."""

import math

from clipknight.embedding.embeddings import CHUNK_ROWS
from clipknight.waiting import progress_bar

import faiss
import numpy as np

LEAST_ROWS = 39  # a cell: fewer, and faiss warns of its centre
SAMPLED_ROWS = 50  # a cell, to find the centres by
MANY_CELLS = 4096  # beyond them their number grows the slower: each row is compared with all their centres
ONE_LEVEL = 1024  # cells that one k-means finds; of more, k-means of k-means' groups takes a hundredth of the time


def cells_for(rows: int) -> int:
    """How many cells suit so many rows: finding the cell of a row is to take what searching it does."""
    root = math.sqrt(rows)
    return max(1, min(round(4 * root), rows // LEAST_ROWS, max(MANY_CELLS, round(1.25 * root))))


def sample(rows, count: int) -> np.ndarray:
    """At most `count` of `rows` (an array or RowParts), evenly spread: the same each time."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int))]


def centres_of(sampled: np.ndarray, cells: int) -> np.ndarray:
    """Centres (cells, D) of so many cells, by k-means of `sampled` rows (n, D): in two levels where they are many."""
    options = {"seed": 1, "min_points_per_centroid": 1}
    if cells <= ONE_LEVEL:
        means = faiss.Kmeans(sampled.shape[1], cells, niter=10, **options)
        means.train(sampled)
        return means.centroids
    from faiss.contrib.clustering import two_level_clustering  # takes all of scipy.sparse

    return two_level_clustering(sampled, math.isqrt(cells), cells, clustering_niter=10, **options)[0]


def nearest_cells(rows, centres: np.ndarray, count: int, progress: bool = False) -> np.ndarray:
    """(N, count) int32 numbers of the cells whose centres are nearest to each of `rows`, an array or RowParts."""
    index = faiss.IndexFlatL2(centres.shape[1])
    index.add(centres)
    found = np.empty((len(rows), count), dtype=np.int32)
    with progress_bar(total=len(rows), desc="cells", unit="row", disable=not progress) as bar:
        for start in range(0, len(rows), CHUNK_ROWS):
            stop = min(start + CHUNK_ROWS, len(rows))
            found[start:stop] = index.search(np.ascontiguousarray(rows[start:stop], dtype=np.float32), count)[1]
            bar.update(stop - start)
    return found
