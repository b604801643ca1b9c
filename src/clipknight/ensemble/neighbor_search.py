"""Finding the nearest keys: faiss proposes candidates, exact distances in a fixed order decide."""

import math
from functools import cached_property

from clipknight.embedding.embeddings import CHUNK_ROWS
from clipknight.embedding.lengths import lengths, unit_rows
from clipknight.ensemble.disk_index import trained_index
from clipknight.ensemble.part_search import nearest_in_parts
from clipknight.ensemble.settings import ON_DISK

import faiss
import numpy as np
from faiss.contrib.exhaustive_search import knn_ground_truth

GATHERED = 2**24  # numbers of keys that are read at a time


class NeighborSearch:
    """Search among `keys` (n, d), float32 rows as `comparable` gives them; `approximate`: a faiss index, or None."""

    least_batch = 1

    def __init__(self, keys, metric, approximate=None):
        self.keys, self.metric, self.approximate = keys, metric, approximate

    def nearest(self, queries, k, excluded, ask, exact):
        """Squared distances and indices (q, k) of the k nearest keys, sorted by distance, then by row number.

        `queries` (q, d) are rows as `comparable` gives them, `excluded` (q,) the key that each leaves out, or None.
        `ask` candidates are weighed, or as many as it takes; not `exact`: the approximate index names them.
        """
        squared, indices, limit = self._candidates(queries, min(ask, len(self.keys)), exact)
        if self.metric == "cosine":
            squared[(self._is_zero(indices) | ~queries.any(axis=1, keepdims=True)) & np.isfinite(squared)] = 2
        if excluded is not None:
            squared[indices == excluded[:, None]] = np.inf
        order = np.lexsort((indices, squared), axis=1)[:, :k]
        squared, indices = np.take_along_axis(squared, order, axis=1), np.take_along_axis(indices, order, axis=1)
        short = np.flatnonzero(~(squared[:, -1] < limit))
        step = max(1, len(queries) // 4)  # four times the candidates for a quarter of the queries: memory stays
        for rows in (short[start : start + step] for start in range(0, len(short), step)):
            out = None if excluded is None else excluded[rows]
            squared[rows], indices[rows] = self.nearest(queries[rows], k, out, 4 * ask, exact=True)
        return squared, indices

    def _candidates(self, queries, ask, exact):
        """Squared distances and indices (q, ask), and the distance (q,) within which no other key can lie."""
        indices = self._compared_with_all(queries, ask) if exact else self.approximate.search(queries, ask)[1]
        # faiss expands |u-v|², which cancels: again for the candidates, term by term. Index -1 (none found) gives inf.
        squared = self._squared(queries, indices).astype(np.float64)
        if not exact or ask == len(self.keys):
            return squared, indices, np.full(len(queries), np.inf)
        # A key left out is at least as far as the farthest candidate, but for the rounding of two expansions.
        farthest = squared.max(axis=1)
        length = lengths(queries)
        rounding = 4 * np.finfo(np.float32).eps * queries.shape[1] * (length**2 + (length + np.sqrt(farthest)) ** 2)
        return squared, indices, farthest - rounding

    def _compared_with_all(self, queries, ask):
        return faiss.knn(queries, self.keys, ask)[1]

    def _squared(self, queries, indices):
        """Squared distances (q, k) float32 of each query and its candidates."""
        return _squared_by_index(queries, self.keys, indices)

    def _is_zero(self, indices):
        """Which keys are zero rows, which have no direction."""
        return self._zero[indices]

    @cached_property
    def _zero(self):
        return ~self.keys.any(axis=1)


class SearchInParts(NeighborSearch):
    """The same among `keys` that are RowParts, none of them zero: only what is compared comes into memory."""

    least_batch = 8192  # each batch reads all keys when it is compared with all

    def _compared_with_all(self, queries, ask):
        if self.keys.files:
            parts = [(str(file), int(start)) for file, start in zip(self.keys.files, self.keys.starts)]
            return nearest_in_parts(parts, queries, ask, self.keys.at_length_one)[1]
        return knn_ground_truth(queries, (rows for _, rows in self.keys.pieces(CHUNK_ROWS)), ask, ngpu=0)[1]

    def _squared(self, queries, indices):
        squared = np.empty(indices.shape, dtype=np.float32)
        step = max(1, GATHERED // (indices.shape[1] * self.keys.shape[1]))
        for rows in (slice(start, start + step) for start in range(0, len(queries), step)):
            used, at = np.unique(indices[rows], return_inverse=True)
            at[indices[rows] < 0] = -1
            squared[rows] = _squared_by_index(queries[rows], self.keys[np.maximum(used, 0)], at)
        return squared

    def _is_zero(self, indices):
        return np.zeros(indices.shape, dtype=bool)  # they were refused when the keys were fitted


def _squared_by_index(queries, keys, indices):
    squared, indices = np.empty(indices.shape, dtype=np.float32), np.ascontiguousarray(indices, dtype=np.int64)
    pointers = [faiss.swig_ptr(array) for array in (squared, np.ascontiguousarray(queries), keys, indices)]
    faiss.fvec_L2sqr_by_idx(*pointers, queries.shape[1], *indices.shape)
    return squared


def build_index(keys, kind, params):
    """faiss's approximate index of this kind over `keys` (n, d), its `params` as in INDEX_PARAMS."""
    n_keys, dim = keys.shape
    if kind in ON_DISK:
        index = trained_index(keys, kind, params)
    elif kind == "hnsw":
        index = faiss.index_factory(dim, f"HNSW{params.get('M', 32)},Flat")
        index.hnsw.efConstruction = params.get("efConstruction", 80)
        index.hnsw.efSearch = params.get("efSearch", 256)
    else:
        # 39 keys per list is the least that faiss trains a centroid on without complaint.
        lists = params.get("nlist", max(1, min(round(4 * math.sqrt(n_keys)), n_keys // 39)))
        if lists > n_keys:
            raise ValueError(f"index_params: nlist={lists} is more than the {n_keys} keys")
        index = faiss.index_factory(dim, f"IVF{lists},Flat")
        index.cp.min_points_per_centroid = 1  # `recall` judges the index, not a line on standard output
        index.nprobe = params.get("nprobe", max(8, lists // 8))
        index.train(keys[:: max(1, n_keys // (40 * lists))])
    index.add(keys)  # in one call: several may cut an HNSW graph in pieces (facebookresearch/faiss#5524)
    return index


def comparable(X, metric):
    """X as float32 rows to compare; X itself where it is that already. ValueError for numbers too large to square."""
    if max(X.max(), -X.min()) > 1e15:
        raise ValueError("X holds values above 1e15, whose squares float32 cannot hold: scale X down")
    return unit_rows(X) if metric == "cosine" else np.ascontiguousarray(X, dtype=np.float32)
