"""Model B on rows in parts, with an index on disk, against all in memory."""

from clipknight.embedding.embeddings import unit
from clipknight.ensemble import disk_index
from clipknight.ensemble.disk_index import INDEX, LISTS
from clipknight.ensemble.index_choice import choose_index
from clipknight.ensemble.knn import DistanceWeightedKNN
from clipknight.ensemble.knn_on_disk import fit_on_disk

import numpy as np
import pytest

CUTS = [0, 500, 500, 900, 1200]


@pytest.fixture
def data(tmp_path):
    """1,200 keys in loose clusters as three filled files of float16, the same in memory, values and 60 queries."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((12, 16))
    keys = unit(centres[rng.integers(12, size=1200)] + 0.7 * rng.standard_normal((1200, 16))).astype(np.float16)
    queries = centres[rng.integers(12, size=60)] + 0.7 * rng.standard_normal((60, 16))
    parts = []
    for i, (start, stop) in enumerate(zip(CUTS, CUTS[1:])):
        if stop > start:
            np.save(tmp_path / f"{i}.npy", keys[start:stop])
            parts.append(np.load(tmp_path / f"{i}.npy", mmap_mode="r"))
    return parts, keys.astype(np.float32), rng.standard_normal((1200, 5)).astype(np.float32), queries


def fitted(data, folder, index="exact", **params):
    parts, _, values, _ = data
    return fit_on_disk(
        DistanceWeightedKNN(20, index=index, index_params=params), parts, [values[:700], values[700:]], folder
    )


def test_parts_are_searched_as_one(data, tmp_path):
    _, keys, values, queries = data
    whole, parts = DistanceWeightedKNN(20).fit(keys, values), fitted(data, tmp_path / "index")
    for given in (queries, None):
        for a, b in zip(parts.kneighbors(given), whole.kneighbors(given), strict=True):
            np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(parts.predict(given), whole.predict(given))
    assert parts.recall() == 1 and not (tmp_path / "index").exists()


@pytest.mark.parametrize("index", ["ivf_sq8", "ivf_pq"])
def test_an_index_on_disk_finds_what_one_in_memory_does(data, tmp_path, index):
    _, keys, values, queries = data
    params = {"nlist": 12, "nprobe": 12}
    disk = fitted(data, tmp_path / "index", index, **params)
    memory = DistanceWeightedKNN(20, index=index, index_params=params).fit(keys, values)
    np.testing.assert_array_equal(disk.kneighbors(queries)[1], memory.kneighbors(queries)[1])
    np.testing.assert_array_equal(disk.predict(queries), memory.predict(queries))
    assert disk.recall() == memory.recall() and 0.98 < disk.recall() <= 1
    assert {file.name for file in (tmp_path / "index").iterdir()} == {INDEX, LISTS}
    narrow = fitted(data, tmp_path / "narrow", index, nlist=12, nprobe=1)
    assert narrow.recall() < disk.recall()


def test_a_killed_build_goes_on_with_the_parts_that_are_there(data, tmp_path, monkeypatch):
    unbroken = fitted(data, tmp_path / "unbroken", "ivf_sq8")
    made, write = [], disk_index._write

    def killed(index, file):
        if len(made) == 3:
            raise KeyboardInterrupt
        made.append(file.name)
        write(index, file)

    monkeypatch.setattr(disk_index, "_write", killed)
    with pytest.raises(KeyboardInterrupt):
        fitted(data, tmp_path / "index", "ivf_sq8")
    assert made == ["trained.faiss", "part-00000.faiss", "part-00001.faiss"]
    made.clear()
    assert fitted(data, tmp_path / "index", "ivf_sq8").recall() == unbroken.recall()
    assert made == ["part-00002.faiss", INDEX]
    assert (tmp_path / "index" / LISTS).read_bytes() == (tmp_path / "unbroken" / LISTS).read_bytes()


def test_what_was_begun_of_other_keys_is_thrown_away(data, tmp_path, monkeypatch):
    monkeypatch.setattr(disk_index, "merge_ondisk", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        fitted(data, tmp_path / "index", "ivf_sq8", nlist=7)
    monkeypatch.undo()
    assert fitted(data, tmp_path / "index", "ivf_sq8", nlist=9).index_.nlist == 9


def test_keys_that_no_index_on_disk_can_hold(data, tmp_path):
    parts, _, values, _ = data
    with pytest.raises(ValueError, match="index 'hnsw' holds all keys in memory: for keys in parts choose ivf_sq8 or"):
        fitted(data, tmp_path, "hnsw")
    with pytest.raises(ValueError, match="1,200 keys do not fit 7 values"):
        fit_on_disk(DistanceWeightedKNN(), parts, [values[:7]], tmp_path)
    with pytest.raises(ValueError, match="key 2 is zero or not finite"):
        fit_on_disk(DistanceWeightedKNN(), [np.eye(3)[[0, 1]], np.zeros((1, 3))], [np.eye(3)], tmp_path)
    with pytest.raises(ValueError, match="'ivf_pq' learns its codes from 256 keys or more, not 100"):
        DistanceWeightedKNN(5, index="ivf_pq").fit(data[1][:100], values[:100])
    with pytest.raises(ValueError, match="m=5 does not divide the 16 numbers"):
        fitted(data, tmp_path, "ivf_pq", m=5)


@pytest.mark.parametrize(
    "rows, gib, kind",
    [
        (200_000, 1, "exact"),
        (1_000_000, 16, "ivf"),
        (1_000_000, 2, "ivf_sq8"),
        (10**7, 16, "ivf_sq8"),
        (10**9, 64, "ivf_pq"),
    ],
)
def test_auto_goes_by_rows_and_memory_and_says_so(rows, gib, kind):
    found, reason = choose_index(rows, 384, gib << 30)
    assert found == kind and f"{rows:,} keys of 384" in reason
    assert kind == "exact" or f"{gib}.0 GiB of memory are free" in reason


def test_auto_of_few_keys_is_exact(data):
    _, keys, values, queries = data
    auto, exact = (DistanceWeightedKNN(20, index=index).fit(keys, values) for index in ("auto", "exact"))
    assert (auto.index_kind_, auto.index_) == ("exact", None)
    np.testing.assert_array_equal(auto.predict(queries), exact.predict(queries))
