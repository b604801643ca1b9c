import json

from clipknight.embedding.embeddings import Embeddings, concatenate, unit

import numpy as np
import pandas as pd
import pytest

VECTORS = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
META = {"encoder": "this one", "fingerprint": "aaaa"}


def rows(ids="abcd"):
    return Embeddings(list(ids), VECTORS[: len(ids)], META)


def test_unit_rows_have_length_one_and_zero_rows_stay():
    vectors = unit(np.array([[3.0, 4.0], [0, 0], [1e-20, 0]]))
    assert vectors.tolist() == [[0.6, 0.8], [0, 0], [1, 0]]
    assert unit(VECTORS).dtype == np.float32


def test_aligns_by_id_not_by_position():
    aligned = rows().aligned_to(["d", "a"])
    assert aligned.ids.tolist() == ["d", "a"]
    np.testing.assert_array_equal(aligned.vectors, VECTORS[[3, 0]])
    assert aligned.meta == META and aligned.dim == 3 and len(aligned) == 2


def test_a_missing_id_is_named():
    with pytest.raises(KeyError, match="2 of 3 ids: x, y"):
        rows().aligned_to(["x", "a", "y"])


def test_duplicates_are_named():
    with pytest.raises(ValueError, match="duplicate ids: a"):
        rows("abca")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_no_vector_is_named(bad, monkeypatch):
    monkeypatch.setattr("clipknight.embedding.embeddings.CHUNK_ROWS", 2)  # the bad row is in the second chunk
    vectors = VECTORS.copy()
    vectors[3, 1] = bad
    with pytest.raises(ValueError, match="in the vector of 'd'"):
        Embeddings(list("abcd"), vectors)


@pytest.mark.parametrize("vectors", [VECTORS[:3], VECTORS[0]])
def test_ids_must_fit_the_vectors(vectors):
    with pytest.raises(ValueError, match="4 ids do not fit vectors of shape"):
        Embeddings(list("abcd"), vectors)


def test_saved_and_loaded(tmp_path):
    Embeddings(["sub/ä", "null", "01"], VECTORS[:3], META | {"of": "Bilder"}).save(tmp_path / "e")
    loaded = Embeddings.load(tmp_path / "e", fingerprint="aaaa")
    assert loaded.ids.tolist() == ["sub/ä", "null", "01"]
    np.testing.assert_array_equal(loaded.vectors, VECTORS[:3])
    assert loaded.meta == META | {"of": "Bilder"}
    assert sorted(p.name for p in (tmp_path / "e").iterdir()) == ["ids.parquet", "meta.json", "vectors.npy"]


def test_float64_is_saved_as_float32(tmp_path):
    Embeddings(list("abcd"), VECTORS.astype(np.float64)).save(tmp_path / "e")
    assert np.load(tmp_path / "e" / "vectors.npy").dtype == np.float32


def test_loading_maps_the_file_and_aligning_to_the_same_ids_keeps_the_map(tmp_path):
    rows().save(tmp_path / "e")
    loaded = Embeddings.load(tmp_path / "e")
    assert isinstance(loaded.vectors, np.memmap)
    assert loaded.aligned_to(list("abcd")).vectors is loaded.vectors
    assert loaded.aligned_to(list("abc")).ids.tolist() == ["a", "b", "c"]


def test_another_encoders_embeddings_are_refused(tmp_path):
    rows().save(tmp_path / "e")
    with pytest.raises(ValueError, match="made with encoder 'this one' .fingerprint aaaa.*not the present one .bbbb"):
        Embeddings.load(tmp_path / "e", fingerprint="bbbb")


def test_no_embeddings_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="no embeddings in .*nowhere"):
        Embeddings.load(tmp_path / "nowhere")


@pytest.mark.parametrize("bad, wrong", [(np.nan, "NaN or infinity in the vector of 'b'"), (1.0, "duplicate ids: a")])
def test_broken_rows_are_named_with_their_folder(tmp_path, bad, wrong):
    Embeddings(["a", "b"], np.eye(2, dtype=np.float32)).save(tmp_path / "rows")
    np.save(tmp_path / "rows" / "vectors.npy", np.array([[1, 0], [0, bad]], dtype=np.float32))
    pd.DataFrame({"id": ["a", "a"] if bad == 1 else ["a", "b"]}).to_parquet(tmp_path / "rows" / "ids.parquet")
    with pytest.raises(ValueError, match=f"rows: {wrong}: delete .*rows, and the command that wrote it makes it again"):
        Embeddings.load(tmp_path / "rows")


def test_saving_over_keeps_the_old_rows_if_it_fails(tmp_path, monkeypatch):
    rows().save(tmp_path / "e")
    monkeypatch.setattr(json, "dumps", lambda *args, **kwargs: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        rows("ab").save(tmp_path / "e")
    assert len(Embeddings.load(tmp_path / "e")) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["e"]


def test_concatenated_rows_stay_with_their_ids():
    both = concatenate([rows("ab"), Embeddings(["z"], VECTORS[3:])])
    assert both.ids.tolist() == ["a", "b", "z"] and both.meta == META
    np.testing.assert_array_equal(both.vectors, VECTORS[[0, 1, 3]])
    with pytest.raises(ValueError, match="duplicate ids: a"):
        concatenate([rows("ab"), rows("a")])


def test_regions_go_with_their_rows(tmp_path):
    vectors, regions = np.eye(3, 4, dtype=np.float32), np.arange(24, dtype=np.float32).reshape(3, 2, 4)
    Embeddings(["a", "b", "c"], vectors, regions=regions).save(tmp_path / "kept")
    rows = Embeddings.load(tmp_path / "kept").aligned_to(["c", "a"])
    np.testing.assert_array_equal(rows.regions, regions[[2, 0]])
    np.testing.assert_array_equal(rows.vectors, vectors[[2, 0]])
    assert rows.dim == 4
    for wrong in (regions[:2], regions[..., :3]):
        with pytest.raises(ValueError, match="regions of shape .* do not fit vectors of shape"):
            Embeddings(["a", "b", "c"], vectors, regions=wrong)
