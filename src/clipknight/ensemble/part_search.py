"""The nearest keys among parts that are searched one by one, by this process or by a cluster's, and merged by distance.

A part is a file: of an index, or of keys themselves. Merged are all that any part found, in order of distance and then
of row number, so the result is that of one search, whoever searched which part first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from clipknight.embedding.embeddings import CHUNK_ROWS
from clipknight.embedding.row_parts import RowParts
from clipknight.engines.workers import Place, results

import faiss
import numpy as np
from faiss.contrib.exhaustive_search import knn_ground_truth

FAR = 1e38  # beyond any distance: what faiss gives where there are fewer rows than asked for


@dataclass(frozen=True, eq=False)
class NearestInPart:
    """Work on a part, (its file, the number of its first key): the `count` nearest to each of `queries` (q, d)."""

    queries: np.ndarray
    count: int
    at_length_one: bool

    def ready(self, place: Place) -> "NearestInPart":
        return self

    def __call__(self, part: tuple[str, int]) -> tuple[np.ndarray, np.ndarray]:
        """Squared distances and row numbers (q, count), -1 for none."""
        file, first = part
        if file.endswith(".faiss"):
            return faiss.read_index(file, faiss.IO_FLAG_MMAP).search(self.queries, self.count)
        rows = RowParts([np.load(file, mmap_mode="r")], self.at_length_one)
        pieces = (piece for _, piece in rows.pieces(CHUNK_ROWS))
        squared, indices = knn_ground_truth(self.queries, pieces, self.count, ngpu=0)
        return squared, np.where(squared < FAR, indices + first, -1)


def nearest_in_parts(
    parts: Sequence[tuple[str, int]], queries: np.ndarray, count: int, at_length_one: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Squared distances and row numbers (q, count) of the nearest keys of all `parts`."""
    best = None
    for _, found in results(NearestInPart(queries, count, at_length_one), parts, range(len(parts)), 0):
        best = found if best is None else _nearer(best, found, count)
    return best


def _nearer(a: tuple[np.ndarray, np.ndarray], b: tuple[np.ndarray, np.ndarray], count: int):
    squared, indices = (np.concatenate(both, axis=1) for both in zip(a, b))
    order = np.lexsort((indices, squared), axis=1)[:, :count]
    return np.take_along_axis(squared, order, axis=1), np.take_along_axis(indices, order, axis=1)


class IndexInParts:
    """Searched like faiss's index: one of each part, in `files`, whose rows are numbered through all of them."""

    def __init__(self, files: Sequence[Path]):
        self.files = list(files)
        indexes = [faiss.read_index(str(file), faiss.IO_FLAG_MMAP) for file in self.files]
        self.ntotal, self.d = sum(index.ntotal for index in indexes), indexes[0].d

    def search(self, queries: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        return nearest_in_parts([(str(file), 0) for file in self.files], queries, count)
