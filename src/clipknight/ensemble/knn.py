"""Model B: nearest-neighbour regression weighted by distance (Che et al. 2023, eq. 4-5), a scikit-learn estimator."""

from clipknight.ensemble.index_choice import choose_index
from clipknight.ensemble.neighbor_search import build_index, comparable
from clipknight.ensemble.weighted_neighbors import WeightedNeighbors

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data


class DistanceWeightedKNN(MultiOutputMixin, RegressorMixin, WeightedNeighbors, BaseEstimator):
    """Predict the average of the values of the k nearest keys, each weighted by w = coef / (d**power + delta).

    The paper prints delta inside the exponent, where it hardly guards against d = 0; here it is added to d**power. The
    sum is divided by the sum of the weights instead of by k: scaled to unit length both are the same vector, and this
    one is a sound average without that too. So `coef` cancels; it shows in `neighbor_weights`.

    Distances: 1 - cos, computed as ½|u-v|² of unit rows in float32, so never negative, precise when small, 0 for twins.
    A zero row is at distance 1 from all, as in scikit-learn. Weights are float64. Neighbours are sorted by distance,
    then by row number; with the exact index they do not depend on how queries are batched.

    Memory: float32 keys of unit length (euclidean: any float32 keys) are held as given, memory-mapped or not; others
    are copied once. ivf and hnsw hold one more copy, ivf_sq8 a quarter of one, ivf_pq a thirtieth; these two can be
    built of rows in parts and stay on disk (clipknight/ensemble/knn_on_disk.py). Float32 values give float32
    predictions, all others float64.

    Parameters
    ----------
    n_neighbors : int, default None: the paper's 100, or all allowed keys where there are fewer.
    weights : "inverse" (the formula above), "uniform", or a callable from distances (q, k) to weights (q, k).
        Where power and delta make a weight infinite (delta=0 and d=0), such keys share all the weight.
    metric : "cosine" or "euclidean".
    index : "exact"; "ivf", "hnsw", "ivf_sq8" and "ivf_pq" are approximate, see `recall`. Queries they leave short are
        searched exactly. "auto": by the number of keys and the free memory, see `index_kind_`.
    index_params : faiss's names. ivf, ivf_sq8: nlist, nprobe; ivf_pq: m too; hnsw: M, efConstruction, efSearch.
    unit_output : scale predictions to unit length, where y has more than one column.
    batch_size : queries searched at a time; memory beyond data and result grows with it alone.

    Attributes: keys_ (n, d) float32 as compared, values_ (n, t) or (n,), index_ faiss or None, index_kind_ its name.

    >>> knn = DistanceWeightedKNN(n_neighbors=2, unit_output=False)
    >>> float(knn.fit([[1, 0], [0, 1], [-1, 0]], [1.0, 2.0, 9.0]).predict([[1, 1]]).round(3)[0])
    1.5
    """

    def fit(self, X, y):
        """Keys X (n, d), their values y (n,) or (n, t)."""
        self.check_parameters()
        if issparse(y):
            raise TypeError("y is sparse: give it as a dense array")
        # No target dtype: rows are brought to float32 in chunks below, so that a mapped file is not read into memory.
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32], multi_output=True, y_numeric=True)
        keys = comparable(X, self.metric)
        values = np.ascontiguousarray(y, dtype=np.float32 if y.dtype == np.float32 else np.float64)
        kind = choose_index(*keys.shape)[0] if self.index == "auto" else self.index
        index = None if kind == "exact" else build_index(keys, kind, self.index_params or {})
        return self.hold(keys, values, index, kind)

    def _queries(self, X):
        check_is_fitted(self)
        return super()._queries(X)

    def _checked(self, X):
        return validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
