"""The weighted average of the values of the nearest keys: what a fitted Model B predicts by."""

import inspect
import math
from numbers import Integral, Real

from clipknight.embedding.embeddings import unit
from clipknight.embedding.row_parts import RowParts
from clipknight.ensemble.neighbor_search import NeighborSearch, SearchInParts, comparable
from clipknight.ensemble.settings import INDEX_PARAMS

import numpy as np
from scipy.sparse import csr_array

PAPER_NEIGHBORS = 100
SPARE = 16  # candidates beyond the k asked for: they settle ties at the k-th place without a second search
CANDIDATES = {"ivf_sq8": 2, "ivf_pq": 8}  # times as many, of an index that compares keys cut to so few bits


class WeightedNeighbors:
    """All of DistanceWeightedKNN, which describes it, but fitting: for a run that predicts, without scikit-learn.

    That takes a second to import. `hold` gives it the keys and values that were fitted.
    """

    def __init__(
        self,
        n_neighbors=None,
        *,
        weights="inverse",
        power=6,
        delta=1e-4,
        coef=1e-3,
        metric="cosine",
        index="exact",
        index_params=None,
        unit_output=True,
        batch_size=1024,
    ):
        self.n_neighbors = n_neighbors
        self.weights = weights
        self.power = power
        self.delta = delta
        self.coef = coef
        self.metric = metric
        self.index = index
        self.index_params = index_params
        self.unit_output = unit_output
        self.batch_size = batch_size

    @property
    def parameters(self):
        """What it was made with, by name."""
        return {name: getattr(self, name) for name in inspect.signature(WeightedNeighbors).parameters}

    def hold(self, keys, values, index, kind=None):
        """Be fitted on keys (n, d) as `comparable` gives them, and their values; `index` is faiss's, None for exact.

        Keys and values may be RowParts.
        """
        self.keys_, self.values_, self.index_ = keys, values, index
        self.index_kind_ = kind or self.index
        search = SearchInParts if isinstance(keys, RowParts) else NeighborSearch
        self._neighbors = search(keys, self.metric, index)
        self.n_features_in_ = keys.shape[1]
        return self

    def kneighbors(self, X=None, n_neighbors=None, return_distance=True):
        """Distances (q, k) float64 and row numbers (q, k) of the nearest keys, as in scikit-learn.

        X None: for every key, its neighbours without itself (its twins stay). ValueError when any query has fewer than
        k keys left to choose from.
        """
        queries, excluded = self._queries(X)
        found = list(self._search(queries, self._k(n_neighbors, len(queries), excluded), excluded))
        indices = np.concatenate([index for _, _, index in found])
        if not return_distance:
            return indices
        return np.concatenate([distance for _, distance, _ in found]), indices

    def predict(self, X=None):
        """Values for X (q, d), or for every key without itself when X is None."""
        queries, excluded = self._queries(X)
        return self._predicted(self._search(queries, self._k(None, len(queries), excluded), excluded), len(queries))

    def compare_with_exact(self, X):
        """What the index gives for X (q, d) and what exact search would, and the share of the true keys it finds."""
        queries, _ = self._queries(X)
        k = self._k(None, len(queries), None)
        found, exact = ([*self._search(queries, k, None, exact=exactly)] for exactly in (False, True))
        hits = sum(int((d <= true[:, -1:]).sum()) for (_, d, _), (_, true, _) in zip(found, exact, strict=True))
        return self._predicted(found, len(queries)), self._predicted(exact, len(queries)), hits / (len(queries) * k)

    def _predicted(self, neighbors, count):
        """The predictions for so many queries from batches of their neighbours, as `_search` yields them."""
        values = self.values_[:, None] if self.values_.ndim == 1 else self.values_
        predictions = np.empty((count, values.shape[1]), values.dtype)
        for rows, distances, indices in neighbors:
            weights = self.neighbor_weights(distances)
            total = weights.sum(axis=1, keepdims=True)
            if not (np.isfinite(total) & (total > 0)).all():
                raise ValueError("the weights of a query do not have a finite sum above 0: check `weights`")
            average = _averages((weights / total).astype(values.dtype), indices, values)
            predictions[rows] = unit(average) if self.unit_output and average.shape[1] > 1 else average
        return predictions.reshape(count, *self.values_.shape[1:])

    def neighbor_weights(self, distances):
        """The weights (q, k) float64 of keys at `distances` (q, k), before their sum divides them."""
        if callable(self.weights):
            weights = np.asarray(self.weights(distances), dtype=np.float64)
            if weights.shape != np.shape(distances):
                raise ValueError(f"weights returned shape {weights.shape} for distances of {np.shape(distances)}")
            return weights
        if self.weights == "uniform":
            return np.ones_like(distances, dtype=np.float64)
        with np.errstate(divide="ignore", over="ignore"):
            weights = self.coef / (np.asarray(distances, dtype=np.float64) ** self.power + self.delta)
        infinite = np.isinf(weights)
        return np.where(infinite.any(axis=1, keepdims=True), infinite, weights)

    def recall(self, X=None, n_queries=1000, n_neighbors=None):
        """Share of the true nearest keys that the index finds, over `n_queries` rows spread evenly over X.

        X None: over the keys, each without itself. A key as near as the k-th true one counts as found.
        """
        if n_queries < 1:
            raise ValueError(f"n_queries must be above 0, not {n_queries}")
        queries, excluded = self._queries(X)
        rows = np.unique(np.linspace(0, len(queries) - 1, min(n_queries, len(queries))).astype(int))
        queries, excluded = queries[rows], None if excluded is None else excluded[rows]
        k = self._k(n_neighbors, len(queries), excluded)
        truth = self._search(queries, k, excluded, exact=True)
        answer = self._search(queries, k, excluded)
        hits = sum(int((d <= true[:, -1:]).sum()) for (_, d, _), (_, true, _) in zip(answer, truth, strict=True))
        return hits / (len(queries) * k)

    def _queries(self, X):
        """Query rows, and the row of the key that each of them leaves out (None: each may find all keys)."""
        if X is None:
            return self.keys_, np.arange(len(self.keys_))
        return self._checked(X), None

    def _checked(self, X):
        """X (q, d) as float32 or float64. ValueError for another width, and for numbers that are not finite."""
        X = np.asarray(X)
        X = X if X.dtype in (np.float32, np.float64) else X.astype(np.float64)
        if X.ndim != 2 or X.shape[1] != self.n_features_in_:
            raise ValueError(f"queries have the shape {X.shape}, the keys {self.n_features_in_} numbers each")
        if not np.isfinite(X).all():
            raise ValueError("queries hold NaN or infinity")
        return X

    def _search(self, queries, k, excluded, exact=False):
        """Yield (slice of queries, distances (q, k), indices (q, k)) batch by batch."""
        exact = exact or self.index_ is None
        ask = k * (1 if exact else CANDIDATES.get(self.index_kind_, 1)) + SPARE + (excluded is not None)
        step = max(self.batch_size, self._neighbors.least_batch)
        for start in range(0, len(queries), step):
            rows = slice(start, start + step)
            out = None if excluded is None else excluded[rows]
            squared, indices = self._neighbors.nearest(comparable(queries[rows], self.metric), k, out, ask, exact)
            yield rows, squared / 2 if self.metric == "cosine" else np.sqrt(squared), indices

    def _k(self, n_neighbors, n_queries, excluded):
        """The number of neighbours to find. ValueError when it is none, or more than some query may choose from."""
        n_keys = len(self.keys_)
        allowed = n_keys - (excluded is not None)
        n_neighbors = self.n_neighbors if n_neighbors is None else n_neighbors
        k = min(PAPER_NEIGHBORS, allowed) if n_neighbors is None else n_neighbors
        if not isinstance(k, Integral) or isinstance(k, bool):
            raise ValueError(f"n_neighbors must be an integer or None, not {k!r}")
        if not 1 <= k <= allowed:
            raise ValueError(
                f"Expected 1 <= n_neighbors <= {allowed}, the keys that every query may choose from, "
                f"but n_neighbors = {k}, n_samples_fit = {n_keys}, n_samples = {n_queries}"
            )
        return int(k)

    def check_parameters(self):
        """ValueError, with what is allowed, for the first that is not."""
        params, known = self.index_params or {}, INDEX_PARAMS.get(self.index, ())
        weighs = callable(self.weights) or self.weights in ("inverse", "uniform")
        checks = [
            ("weights", weighs, "'inverse', 'uniform' or a function"),
            ("metric", self.metric in ("cosine", "euclidean"), "'cosine' or 'euclidean'"),
            ("index", self.index in INDEX_PARAMS, f"one of {', '.join(map(repr, INDEX_PARAMS))}"),
            ("index_params", set(params) <= set(known), f"a dict of {', '.join(known) or 'nothing'} for {self.index}"),
            ("index_params", all(_is_number(value, Integral, 1) for value in params.values()), "integers above 0"),
            ("power", _is_number(self.power, Real, 0) and self.power > 0, "a number > 0"),
            ("coef", _is_number(self.coef, Real, 0) and self.coef > 0, "a number > 0"),
            ("delta", _is_number(self.delta, Real, 0), "a number >= 0"),
            ("batch_size", _is_number(self.batch_size, Integral, 1), "an integer above 0"),
        ]
        for name, holds, wanted in checks:
            if not holds:
                raise ValueError(f"{name} must be {wanted}, not {getattr(self, name)!r}")


def _averages(shares, indices, values):
    """(q, t) of the `values` at `indices` (q, k), an array or RowParts, each by its share (q, k)."""
    if isinstance(values, RowParts):
        used, indices = np.unique(indices, return_inverse=True)
        values = values[used]
    # A sparse product reads each value where it lies; gathering them first would take k times the result.
    starts = np.arange(0, shares.size + 1, shares.shape[1])
    return csr_array((shares.ravel(), indices.ravel(), starts), (len(shares), len(values))) @ values


def _is_number(value, kind, least):
    return isinstance(value, kind) and not isinstance(value, bool) and least <= value < math.inf
