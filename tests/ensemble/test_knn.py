import doctest
import tracemalloc

import clipknight.ensemble.knn
from clipknight.embedding.embeddings import unit
from clipknight.ensemble.knn import DistanceWeightedKNN

import faiss
import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.metrics.pairwise import cosine_distances
from sklearn.neighbors import KNeighborsRegressor
from sklearn.utils.estimator_checks import check_estimator
from threadpoolctl import threadpool_limits


@pytest.fixture(autouse=True)
def searched_like_large_data(monkeypatch):
    """faiss computes small searches term by term; let it expand |u-v|², as it does when there is much to search."""
    monkeypatch.setattr(faiss.cvar, "distance_compute_blas_threshold", 1)
    with threadpool_limits(1):  # threads cost more than they bring on data this small
        yield


def paper_weights(distances):
    return 1e-3 / (distances**6 + 1e-4)


@pytest.fixture
def data():
    """600 keys in 12 loose clusters, their values, 90 queries."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((12, 24))
    keys = centres[rng.integers(12, size=600)] + 0.7 * rng.standard_normal((600, 24))
    queries = centres[rng.integers(12, size=90)] + 0.7 * rng.standard_normal((90, 24))
    return keys, rng.standard_normal((600, 5)), queries


def by_hand(distances, values, k, weigh=paper_weights):
    """Eq. 4-5 row by row in float64 on a full matrix of distances; inf marks keys that may not be used."""
    rows = []
    for row in distances:
        nearest = np.argsort(row, kind="stable")[:k]
        assert np.isfinite(row[nearest]).all()
        rows.append((weigh(row[nearest])[:, None] * values[nearest]).sum(axis=0) / k)
    return unit(np.array(rows))


def test_predictions_are_the_papers(data):
    keys, values, queries = data
    knn = DistanceWeightedKNN(n_neighbors=100).fit(keys, values)
    expected = by_hand(cosine_distances(queries, keys), values, 100)
    np.testing.assert_allclose(knn.predict(queries), expected, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(knn.predict(queries), axis=1), 1)


def test_coef_scales_the_weights_and_not_the_predictions(data):
    keys, values, queries = data
    d = np.array([[0.1, 0.9], [0.0, 2.0]])
    np.testing.assert_allclose(DistanceWeightedKNN().neighbor_weights(d), paper_weights(d))
    np.testing.assert_allclose(DistanceWeightedKNN(coef=5).neighbor_weights(d), 5000 * paper_weights(d))
    first, second = (DistanceWeightedKNN(coef=c, unit_output=False).fit(keys, values) for c in (1e-3, 5))
    np.testing.assert_allclose(first.predict(queries), second.predict(queries), rtol=1e-12)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("columns", [np.s_[:], np.s_[:, 0], np.s_[:, :1]])
def test_agrees_with_scikit_learn(data, metric, columns):
    keys, values, queries = data
    ours = DistanceWeightedKNN(n_neighbors=20, metric=metric, unit_output=False).fit(keys, values[columns])
    theirs = KNeighborsRegressor(20, weights=paper_weights, metric=metric).fit(keys, values[columns])
    np.testing.assert_allclose(ours.predict(queries), theirs.predict(queries), atol=1e-5)
    for mine, reference in zip(ours.kneighbors(queries), theirs.kneighbors(queries), strict=True):
        np.testing.assert_allclose(mine, reference, atol=1e-5)


@pytest.mark.parametrize("weights", ["uniform", lambda d: np.exp(-5 * d)])
def test_other_weights_agree_with_scikit_learn(data, weights):
    keys, values, queries = data
    ours = DistanceWeightedKNN(n_neighbors=20, weights=weights, unit_output=False).fit(keys, values)
    theirs = KNeighborsRegressor(20, weights=weights, metric="cosine").fit(keys, values)
    np.testing.assert_allclose(ours.predict(queries), theirs.predict(queries), atol=1e-5)


def test_without_delta_twins_take_all_the_weight(data):
    keys, values, queries = data
    keys = np.concatenate([keys, queries[:30], 2 * queries[:10]])  # two twins, one twin, none
    values = np.random.default_rng(1).standard_normal((len(keys), 3))
    ours = DistanceWeightedKNN(n_neighbors=15, power=1, delta=0, unit_output=False).fit(keys, values)
    # scikit-learn's cosine distances of twins are 1e-16, not 0; its euclidean ones, squared, are 2 * (1 - cos).
    theirs = KNeighborsRegressor(15, weights="distance", algorithm="brute", metric="sqeuclidean")
    theirs.fit(unit(keys), values)
    np.testing.assert_allclose(ours.predict(queries), theirs.predict(unit(queries)), atol=1e-5)
    np.testing.assert_array_equal(ours.predict(queries[10:30]), values[610:630])
    np.testing.assert_allclose(ours.predict(queries[:10]), (values[600:610] + values[630:]) / 2, rtol=1e-12)


def test_weights_too_large_for_a_float_count_as_infinite():
    knn = DistanceWeightedKNN(power=400, delta=0)
    np.testing.assert_array_equal(knn.neighbor_weights([[0.1, 0.5], [0.9, 1.0]])[0], [1, 0])
    assert np.isfinite(knn.neighbor_weights([[0.9, 1.0]])).all()


def test_delta_guards_twins(data):
    keys, values, _ = data
    distances, indices = DistanceWeightedKNN(n_neighbors=1).fit(keys, values).kneighbors(keys)
    assert (distances == 0).all() and (indices[:, 0] == np.arange(600)).all()
    near = DistanceWeightedKNN(n_neighbors=2, unit_output=False).fit(keys, values).predict(keys)
    assert np.isfinite(near).all() and not np.allclose(near, values)


def test_training_rows_leave_themselves_out_by_index_and_keep_their_twins(data):
    keys, values, _ = data
    keys = np.repeat(keys[:40], 5, axis=0)  # every key has four twins, most of them at smaller indices
    distances, indices = DistanceWeightedKNN(n_neighbors=6).fit(keys, values[:200]).kneighbors()
    rows = np.arange(200)
    assert (indices != rows[:, None]).all()
    twins = (rows // 5 * 5)[:, None] + np.arange(5)
    np.testing.assert_array_equal(indices[:, :4], twins[twins != rows[:, None]].reshape(200, 4))
    assert (distances[:, :4] == 0).all() and (distances[:, 4:] > 0).all()
    np.testing.assert_array_equal(indices[:, 4:] % 5, [[0, 1]] * 200)  # the first two of the next five


@pytest.mark.parametrize("index", ["exact", "ivf", "hnsw"])
def test_leave_one_out_prediction(data, index):
    keys, values, _ = data
    params = {"ivf": {"nlist": 8, "nprobe": 8}, "hnsw": {"efSearch": 600}}.get(index)
    distances = cosine_distances(keys)
    np.fill_diagonal(distances, np.inf)
    knn = DistanceWeightedKNN(n_neighbors=30, index=index, index_params=params, batch_size=100).fit(keys, values)
    np.testing.assert_allclose(knn.predict(), by_hand(distances, values, 30), atol=1e-5)


def test_ties_at_the_last_place_go_to_the_smaller_index(data):
    keys, values, queries = data
    order = np.random.default_rng(2).permutation(600)
    keys = np.repeat(keys[:6], 100, axis=0)[order]  # each distance a hundred times: far more ties than places
    for batch_size in (1, 17, 1024):
        knn = DistanceWeightedKNN(n_neighbors=7, batch_size=batch_size).fit(keys, values)
        distances, indices = knn.kneighbors(queries)
        for row, found in zip(cosine_distances(queries, keys).round(6), indices, strict=True):
            np.testing.assert_array_equal(found, np.flatnonzero(row == row.min())[:7])


def test_near_ties_are_ranked_truly(monkeypatch):
    """Distances closer than float32's |u|²-2uv+|v|² can tell apart, which is how faiss computes large searches."""
    rng = np.random.default_rng(3)
    query = unit(rng.standard_normal((1, 64)))
    keys = unit(query + 1e-4 * rng.standard_normal((3000, 64))).astype(np.float32)
    knn = DistanceWeightedKNN(n_neighbors=50).fit(keys, np.zeros(3000))
    queries = np.repeat(query, 30, axis=0).astype(np.float32)
    squared = ((keys.astype(np.float64) - queries[0]) ** 2).sum(axis=1)
    distances, indices = knn.kneighbors(queries)
    np.testing.assert_allclose(distances[0], np.sort(squared)[:50] / 2, rtol=1e-5)
    assert (indices == indices[0]).all()
    monkeypatch.setattr(faiss.cvar, "distance_compute_blas_threshold", 10**9)
    np.testing.assert_array_equal(knn.kneighbors(queries)[1], indices)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_batches_do_not_show(data, metric):
    keys, values, queries = data
    small = DistanceWeightedKNN(n_neighbors=30, metric=metric, batch_size=7).fit(keys, values)
    large = DistanceWeightedKNN(n_neighbors=30, metric=metric).fit(keys, values)
    np.testing.assert_array_equal(small.predict(queries), large.predict(queries))
    np.testing.assert_array_equal(small.predict(), large.predict())
    np.testing.assert_array_equal(small.kneighbors(queries)[1], large.kneighbors(queries)[1])


def test_memory_grows_with_the_batch_and_the_result_only():
    rng = np.random.default_rng(4)
    keys, values = rng.standard_normal((2000, 16)), rng.standard_normal((2000, 256)).astype(np.float32)
    knn = DistanceWeightedKNN(n_neighbors=100, batch_size=64).fit(keys, values)
    queries = rng.standard_normal((2000, 16))
    tracemalloc.start()
    result = knn.predict(queries)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    gathered = 64 * 100 * 256 * 4
    assert result.dtype == np.float32
    assert peak - result.nbytes < gathered / 3


def test_unit_float32_keys_are_held_where_they_lie(data, tmp_path):
    keys, values, queries = data
    np.save(tmp_path / "keys.npy", unit(keys).astype(np.float32))
    mapped = np.load(tmp_path / "keys.npy", mmap_mode="r")
    knn = DistanceWeightedKNN(n_neighbors=10).fit(mapped, values)
    assert np.shares_memory(knn.keys_, mapped)
    np.testing.assert_allclose(knn.predict(queries), DistanceWeightedKNN(10).fit(keys, values).predict(queries))
    longer = DistanceWeightedKNN(n_neighbors=10).fit(2 * mapped, values)
    np.testing.assert_allclose(longer.predict(queries), knn.predict(queries), atol=1e-6)


def test_zero_rows_are_at_distance_one_from_all(data):
    keys, values, queries = data
    keys[:200], queries[:3] = 0, 0
    distances, indices = DistanceWeightedKNN(n_neighbors=600).fit(keys, values).kneighbors(queries)
    np.testing.assert_allclose(distances, np.sort(cosine_distances(queries, keys)), atol=1e-6)
    near = DistanceWeightedKNN(n_neighbors=20).fit(keys, values).kneighbors(queries)
    np.testing.assert_array_equal(near[1], indices[:, :20])


def test_exact_recall_is_one_and_more_probes_find_more(data):
    keys, values, queries = data
    assert DistanceWeightedKNN(10).fit(keys, values).recall() == 1
    narrow = DistanceWeightedKNN(20, index="ivf", index_params={"nlist": 12, "nprobe": 1}).fit(keys, values)
    wide = DistanceWeightedKNN(20, index="ivf", index_params={"nlist": 12, "nprobe": 12}).fit(keys, values)
    assert narrow.recall() < wide.recall() == 1
    truth = np.argsort(cosine_distances(queries, keys), axis=1)[:, :20]
    found = narrow.kneighbors(queries, return_distance=False)
    measured = np.mean([np.isin(a, b).mean() for a, b in zip(found, truth, strict=True)])
    assert narrow.recall(queries) == pytest.approx(measured)
    assert 0 < narrow.recall(queries, n_queries=30) <= 1


def test_what_the_index_costs_is_compared_with_exact_search(data):
    keys, values, queries = data
    knn = DistanceWeightedKNN(20, index="ivf", index_params={"nlist": 12, "nprobe": 1}).fit(keys, values)
    found, exact, recall = knn.compare_with_exact(queries)
    np.testing.assert_array_equal(found, knn.predict(queries))
    np.testing.assert_array_equal(exact, DistanceWeightedKNN(20).fit(keys, values).predict(queries))
    assert recall == knn.recall(queries) < 1


def test_hnsw_finds_nearly_all_and_builds_the_same_graph_by_any_number_of_threads(data):
    keys, values, _ = data
    fits = []
    for threads in (1, 2, 4):
        faiss.omp_set_num_threads(threads)
        fits.append(DistanceWeightedKNN(10, index="hnsw", index_params={"M": 8, "efSearch": 20}).fit(keys, values))
    assert fits[0].recall() > 0.9
    assert len({faiss.serialize_index(knn.index_).tobytes() for knn in fits}) == 1


@pytest.mark.parametrize("index", ["ivf", "hnsw"])
def test_an_approximate_index_never_returns_too_few(data, index):
    keys, values, queries = data
    params = {"nlist": 60, "nprobe": 1} if index == "ivf" else {"M": 2, "efSearch": 1}
    keys = np.repeat(keys[:60], 10, axis=0)  # twins crowd each other out of an HNSW graph
    knn = DistanceWeightedKNN(500, index=index, index_params=params).fit(keys, values)
    distances, indices = knn.kneighbors(queries)
    assert np.isfinite(distances).all() and indices.min() >= 0
    assert all(len(set(row)) == 500 for row in indices.tolist())


def test_default_number_of_neighbors_is_the_papers_or_all(data):
    keys, values, queries = data
    knn = DistanceWeightedKNN().fit(keys, values)
    np.testing.assert_array_equal(knn.predict(queries), DistanceWeightedKNN(100).fit(keys, values).predict(queries))
    assert DistanceWeightedKNN().fit(keys[:30], values[:30]).kneighbors(queries)[1].shape == (90, 30)
    assert DistanceWeightedKNN().fit(keys[:30], values[:30]).kneighbors()[1].shape == (30, 29)


@pytest.mark.parametrize("parameters", [{}, {"n_neighbors": 5, "weights": "uniform"}, {"metric": "euclidean"}])
def test_scikit_learn_checks(parameters):
    check_estimator(DistanceWeightedKNN(**parameters), on_skip=None)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"weights": "distance"}, "'inverse', 'uniform' or a function, not 'distance'"),
        ({"metric": "manhattan"}, "'cosine' or 'euclidean', not 'manhattan'"),
        ({"index": "flat"}, "one of 'exact', 'ivf', 'hnsw', 'ivf_sq8', 'ivf_pq', 'auto', not 'flat'"),
        ({"index_params": {"nlist": 3}}, "index_params must be a dict of nothing for exact, not {'nlist': 3}"),
        ({"index": "ivf", "index_params": {"M": 3}}, "a dict of nlist, nprobe for ivf, not {'M': 3}"),
        ({"index": "ivf", "index_params": {"nlist": 0}}, "index_params must be integers above 0"),
        ({"index": "ivf", "index_params": {"nlist": 601}}, "nlist=601 is more than the 600 keys"),
        ({"power": 0}, "power must be a number > 0, not 0"),
        ({"coef": -1.0}, "coef must be a number > 0"),
        ({"delta": -1e-9}, "delta must be a number >= 0"),
        ({"delta": float("nan")}, "delta must be a number >= 0"),
        ({"batch_size": True}, "batch_size must be an integer above 0"),
        ({"power": "6"}, "power must be a number > 0, not '6'"),
        ({"batch_size": 0}, "batch_size must be an integer above 0"),
        ({"batch_size": 2.5}, "batch_size must be an integer above 0"),
    ],
)
def test_bad_parameters_are_named(data, parameters, message):
    with pytest.raises(ValueError, match=message):
        DistanceWeightedKNN(**parameters).fit(*data[:2])


@pytest.mark.parametrize("k", [0, -3, 601, 2.0, True, "5"])
def test_impossible_numbers_of_neighbors(data, k):
    keys, values, queries = data
    knn = DistanceWeightedKNN(n_neighbors=k).fit(keys, values)
    for call in (knn.predict, knn.kneighbors, lambda X: DistanceWeightedKNN().fit(keys, values).kneighbors(X, k)):
        with pytest.raises(ValueError, match="n_neighbors"):
            call(queries)


def test_neighbors_that_exclusion_takes_away(data):
    keys, values, _ = data
    knn = DistanceWeightedKNN(n_neighbors=600).fit(keys, values)
    with pytest.raises(ValueError, match="<= 599.*n_neighbors = 600"):
        knn.kneighbors()
    with pytest.raises(ValueError, match="<= 0,"):
        DistanceWeightedKNN().fit(keys[:1], values[:1]).predict()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite(data, bad):
    keys, values, queries = data
    knn = DistanceWeightedKNN().fit(keys, values)
    for array, call in [
        (keys, lambda: knn.fit(keys, values)),
        (values, lambda: knn.fit(keys, values)),
        (queries, lambda: knn.predict(queries)),
    ]:
        kept, array[3, 2] = array[3, 2], bad
        with pytest.raises(ValueError, match="NaN|infinity"):
            call()
        array[3, 2] = kept


def test_other_bad_input(data):
    keys, values, queries = data
    knn = DistanceWeightedKNN(n_neighbors=5)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        knn.fit(keys, values[:-1])
    with pytest.raises(TypeError, match="y is sparse"):
        knn.fit(keys, csr_array(values))
    with pytest.raises(ValueError, match="n_queries must be above 0"):
        knn.fit(keys, values).recall(n_queries=0)
    with pytest.raises(ValueError, match="scale X down"):
        knn.fit(1e30 * keys, values)
    with pytest.raises(ValueError, match="finite sum above 0"):
        DistanceWeightedKNN(5, weights=lambda d: d * 0).fit(keys, values).predict(queries)
    with pytest.raises(ValueError, match=r"shape \(90,\) for distances of \(90, 5\)"):
        DistanceWeightedKNN(5, weights=lambda d: d[:, 0]).fit(keys, values).predict(queries)


def test_the_docstrings_example_runs():
    result = doctest.testmod(clipknight.ensemble.knn)
    assert result.attempted > 0 and result.failed == 0
