import pickle

from clipknight.embedding.embeddings import unit
from clipknight.ensemble.knn import DistanceWeightedKNN
from clipknight.ensemble.knn_on_disk import fit_on_disk
from clipknight.ensemble.saved_knn import load_knn, pack_arrays, save_knn

import numpy as np
import pytest
from safetensors.numpy import save_file


@pytest.fixture
def data():
    """600 keys in 12 loose clusters, their values, 90 queries."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((12, 24))
    keys = centres[rng.integers(12, size=600)] + 0.7 * rng.standard_normal((600, 24))
    queries = centres[rng.integers(12, size=90)] + 0.7 * rng.standard_normal((90, 24))
    return keys, rng.standard_normal((600, 5)), queries


@pytest.mark.parametrize("index", ["exact", "ivf", "hnsw"])
def test_saved_and_loaded_predicts_the_same(data, index, tmp_path):
    keys, values, queries = data
    keys[5] = 0
    knn = DistanceWeightedKNN(n_neighbors=np.int64(12), delta=1e-3, index=index).fit(keys, values)
    save_knn(knn, tmp_path / "knn")
    loaded = load_knn(tmp_path / "knn")
    assert loaded.parameters == knn.get_params()
    np.testing.assert_array_equal(loaded.predict(queries), knn.predict(queries))
    if index == "exact":  # an approximate search may not meet the zero row
        whole = loaded.kneighbors(queries, 600)[0]
        np.testing.assert_array_equal(whole, knn.kneighbors(queries, 600)[0])
    np.testing.assert_array_equal(loaded.predict(), knn.predict())
    assert isinstance(loaded.keys_, np.memmap) and isinstance(loaded.values_, np.memmap)
    expected = {"keys.npy", "values.npy", "params.json", "index.faiss"}
    expected -= {"index.faiss"} if index == "exact" else set()
    assert {path.name for path in (tmp_path / "knn").iterdir()} == expected
    save_knn(loaded, tmp_path / "knn")  # over the very files it is mapped from
    again = load_knn(tmp_path / "knn")
    np.testing.assert_array_equal(again.predict(queries), knn.predict(queries))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(knn)).predict(queries), knn.predict(queries))
    with pytest.raises(ValueError, match="24 numbers each"):
        loaded.predict(queries[:, :7])


@pytest.mark.parametrize("index", ["exact", "ivf_sq8"])
def test_rows_in_parts_are_saved_so_with_their_index(data, index, tmp_path):
    keys, values, queries = data
    halves = [keys[:200].astype(np.float16), keys[200:].astype(np.float16)]
    for name, others in (("same", halves), ("values", [values.astype(np.float32)])):
        knn = fit_on_disk(DistanceWeightedKNN(12, index=index), halves, others, tmp_path / "built")
        save_knn(knn, tmp_path / name)
        (tmp_path / name).rename(tmp_path / f"{name}-elsewhere")
        loaded = load_knn(tmp_path / f"{name}-elsewhere")
        np.testing.assert_array_equal(loaded.predict(queries), knn.predict(queries))
        save_knn(loaded, tmp_path / f"{name}-elsewhere")  # over the very files it is mapped from
        loaded = load_knn(tmp_path / f"{name}-elsewhere")
        np.testing.assert_array_equal(loaded.predict(queries), knn.predict(queries))
        assert loaded.keys_.parts[1].dtype == np.float16 and isinstance(loaded.keys_.parts[1], np.memmap)
    assert not (tmp_path / "same-elsewhere" / "values").exists()
    (tmp_path / "values-elsewhere" / "keys" / "00001.npy").unlink()
    with pytest.raises(ValueError, match="has 200 keys and 600 values: fit it again"):
        load_knn(tmp_path / "values-elsewhere")


def test_what_a_folder_cannot_hold_or_does_not(data, tmp_path):
    knn = DistanceWeightedKNN(weights=lambda distances: 1 / (1 + distances)).fit(*data[:2])
    with pytest.raises(ValueError, match="weights is a function"):
        save_knn(knn, tmp_path / "knn")
    assert not list(tmp_path.iterdir())
    with pytest.raises(FileNotFoundError, match="params.json"):
        load_knn(tmp_path / "knn")


def test_a_saved_index_that_is_cut_or_of_other_keys(data, tmp_path):
    keys, values, _ = data
    for name, rows in (("whole", 600), ("fewer", 500)):
        save_knn(DistanceWeightedKNN(5, index="ivf").fit(keys[:rows], values[:rows]), tmp_path / name)
    index = tmp_path / "whole" / "index.faiss"
    index.write_bytes((tmp_path / "fewer" / "index.faiss").read_bytes())
    with pytest.raises(ValueError, match="index.faiss has 500 rows of .* the keys are 600 of .*: fit it again"):
        load_knn(tmp_path / "whole")
    index.write_bytes(index.read_bytes()[:1000])
    with pytest.raises(ValueError, match="index.faiss is no whole index: fit it again"):
        load_knn(tmp_path / "whole")


@pytest.mark.parametrize("bits, most", [(32, 1e-6), (16, 1e-3), (8, 5e-2)])
def test_packed_and_read_again(data, tmp_path, bits, most):
    """Captions among which a run is refined are keys and values at once, and are stored once."""
    keys, queries = unit(data[0]).astype(np.float32), data[2]
    knn = DistanceWeightedKNN(5).fit(keys, keys)
    save_knn(knn, tmp_path)
    (tmp_path / "keys.npy").unlink()
    (tmp_path / "values.npy").unlink()
    pack_arrays(knn, tmp_path, bits)
    cosines = (load_knn(tmp_path).predict(queries) * knn.predict(queries)).sum(axis=1)
    assert cosines.min() > 1 - most
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 1.2 * keys.nbytes * bits / 32 + 4 * len(keys)


def test_the_first_vectors_of_a_packed_corpus_are_keys_and_values(data, tmp_path):
    (tmp_path / "pack.json").write_text("{}", encoding="utf-8")
    vectors, queries = unit(data[0]).astype(np.float32), data[2]
    save_file({"vectors": vectors}, tmp_path / "vectors.safetensors")
    knn = DistanceWeightedKNN(5).fit(vectors[:400], vectors[:400])
    save_knn(knn, tmp_path / "best")
    for name in ("keys.npy", "values.npy"):
        (tmp_path / "best" / name).unlink()
    pack_arrays(knn, tmp_path / "best", 32, ("./vectors.safetensors", vectors))
    again = load_knn(tmp_path / "best")
    assert len(again.keys_) == 400 and not (tmp_path / "best" / "knn.safetensors").exists()
    np.testing.assert_array_equal(again.predict(queries), knn.predict(queries))
