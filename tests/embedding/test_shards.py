"""Embeddings in parts, and where the rows of ids are in them."""

import json
import resource

from clipknight.embedding import id_index
from clipknight.embedding.embeddings import Embeddings
from clipknight.embedding.id_index import IdIndex
from clipknight.embedding.shard_writer import ShardWriter
from clipknight.embedding.shards import ShardedEmbeddings

import numpy as np
import pytest

META = {"encoder": "this one", "fingerprint": "aaaa"}
IDS = np.array([f"bild/ä{i}" for i in range(50)], dtype=object)
VECTORS = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
CUTS = [0, 7, 30, 50]


def parts(folder, dtype="float32", ids=IDS, names=("0", "1", "2")):
    writer = ShardWriter(folder, META, dtype)
    for name, start, stop in zip(names, CUTS, CUTS[1:]):
        writer.add(name, ids[start:stop], VECTORS[start:stop])
    return writer


@pytest.fixture(params=[1000, 8])
def rows(request, tmp_path, monkeypatch):
    monkeypatch.setattr(id_index, "MERGED_ROWS", request.param)  # in one range of digests, and in several
    parts(tmp_path / "rows").finish(["0", "1", "2"])
    return ShardedEmbeddings.open(tmp_path / "rows", fingerprint="aaaa")


def test_parts_are_read_as_one(rows):
    assert (len(rows), rows.dim, rows.dtype, rows.meta) == (50, 3, np.float32, META)
    found = list(rows.parts())
    assert [len(ids) for ids, _ in found] == [7, 23, 20]
    assert all(isinstance(vectors, np.memmap) for _, vectors in found)
    np.testing.assert_array_equal(np.concatenate([ids for ids, _ in found]), IDS)
    np.testing.assert_array_equal(np.concatenate([vectors for _, vectors in found]), VECTORS)


def test_rows_are_found_by_id_across_parts(rows):
    order = np.random.default_rng(1).permutation(50)
    assert rows.rows_of(IDS[order]).tolist() == order.tolist()
    aligned = rows.aligned_to(IDS[order])
    assert aligned.ids.tolist() == IDS[order].tolist() and aligned.meta == META
    np.testing.assert_array_equal(aligned.vectors, VECTORS[order])
    assert rows.ids_at(order).tolist() == IDS[order].tolist()
    with pytest.raises(KeyError, match="no vector for 2 of 3 ids: x, y"):
        rows.aligned_to(["x", IDS[3], "y"])


def test_ids_that_share_half_of_their_digest_are_told_apart(monkeypatch):
    digests = {"a": (5, 1), "b": (5, 2), "c": (5, 3), "d": (7, 1), "e": (9, 9), "f": (5, 4)}
    monkeypatch.setattr(id_index, "_digests", lambda ids: np.array([digests[i] for i in ids], np.uint64))
    assert IdIndex.of(list("dcab")).find(list("abcdef")).tolist() == [2, 3, 1, 0, -1, -1]


def test_a_folder_of_embeddings_is_one_part(tmp_path):
    Embeddings(IDS, VECTORS, META).save(tmp_path / "rows")
    rows = ShardedEmbeddings.open(tmp_path / "rows", fingerprint="aaaa")
    assert len(rows) == 50 and len(list(rows.parts())) == 1
    np.testing.assert_array_equal(rows.aligned_to(IDS[[30, 2]]).vectors, VECTORS[[30, 2]])
    with pytest.raises(ValueError, match="fingerprint aaaa.*not the present one .bbbb"):
        ShardedEmbeddings.open(tmp_path / "rows", fingerprint="bbbb")
    with pytest.raises(FileNotFoundError, match="no embeddings in .*nowhere"):
        ShardedEmbeddings.open(tmp_path / "nowhere")


def test_each_part_is_a_folder_of_embeddings(rows):
    part = Embeddings.load(rows.folder / "parts" / "1")
    np.testing.assert_array_equal(part.vectors, VECTORS[7:30])
    assert part.ids.tolist() == IDS[7:30].tolist() and part.meta == META


def test_sixteen_bits_stay(tmp_path):
    rows = parts(tmp_path / "rows", "float16").finish(["0", "1", "2"])
    assert rows.dtype == np.float16
    np.testing.assert_array_equal(rows.aligned_to(IDS[::-1]).vectors, VECTORS[::-1].astype(np.float16))


def test_an_id_in_two_parts_is_refused_and_named_with_both(tmp_path):
    ids = IDS.copy()
    ids[40] = ids[3]
    with pytest.raises(ValueError, match="ids of 2 rows are not of one alone: bild/ä3 in 0, bild/ä3 in 2"):
        parts(tmp_path / "rows", ids=ids).finish(["0", "1", "2"])
    assert not (tmp_path / "rows" / "manifest.json").exists()


def test_a_writer_goes_on_after_the_parts_that_are_there(tmp_path):
    writer = ShardWriter(tmp_path / "rows", META)
    writer.add("0", IDS[:7], VECTORS[:7], {"torn.png": "the file is empty"})
    (tmp_path / "rows" / "parts" / ".1.0123456789ab.partial").mkdir()  # of a kill
    with pytest.raises(ValueError, match="2 of 3 parts of .* are missing: 1, 2"):
        ShardWriter(tmp_path / "rows", META).finish(["0", "1", "2"])
    with pytest.raises(FileNotFoundError):
        ShardedEmbeddings.open(tmp_path / "rows")
    again = ShardWriter(tmp_path / "rows", META)
    assert {name: record.left_out for name, record in again.finished.items()} == {
        "0": {"torn.png": "the file is empty"}
    }
    again.add("1", IDS[7:], VECTORS[7:])
    again.finish(["0", "1"])
    assert sorted(path.name for path in (tmp_path / "rows").iterdir()) == ["index", "manifest.json", "parts"]
    assert sorted(path.name for path in (tmp_path / "rows" / "parts").iterdir()) == ["0", "1"]
    manifest = json.loads((tmp_path / "rows" / "manifest.json").read_text(encoding="utf-8"))
    assert [(part["rows"], part["left_out"]) for part in manifest["parts"]] == [(7, 1), (43, 0)]


def test_a_part_that_changed_is_not_taken_for_finished(tmp_path):
    parts(tmp_path / "rows")
    np.save(tmp_path / "rows" / "parts" / "1" / "vectors.npy", np.zeros((23, 3), np.float32))
    assert list(ShardWriter(tmp_path / "rows", META).finished) == ["0", "2"]


def test_parts_of_something_else_are_not_gone_on_with(tmp_path):
    parts(tmp_path / "rows")
    with pytest.raises(ValueError, match="begun with other settings: delete .*rows to begin anew"):
        ShardWriter(tmp_path / "rows", META | {"fingerprint": "bbbb"})
    with pytest.raises(ValueError, match="begun with other settings"):
        ShardWriter(tmp_path / "rows", META, "float16")


def test_a_part_without_rows_counts_and_is_not_read(tmp_path):
    writer = ShardWriter(tmp_path / "rows", META)
    writer.add("0", [], np.empty((0, 0)), {"torn.png": "the file is empty"})
    with pytest.raises(ValueError, match="would have no row"):
        writer.finish(["0"])
    writer.add("1", IDS, VECTORS)
    assert len(writer.finish(["0", "1"])) == len(ShardedEmbeddings.open(tmp_path / "rows")) == 50


def test_a_full_disk_leaves_the_parts_before(tmp_path):
    writer = ShardWriter(tmp_path / "rows", META)
    writer.add("0", IDS[:7], VECTORS[:7])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(OSError):
            writer.add("1", [f"{i}" for i in range(5000)], np.ones((5000, 3)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in (tmp_path / "rows" / "parts").iterdir()] == ["0"]
    again = ShardWriter(tmp_path / "rows", META)
    again.add("1", IDS[7:], VECTORS[7:])
    assert len(again.finish(["0", "1"])) == 50


def test_damage_is_named_with_a_remedy(rows):
    (rows.folder / "parts" / "1" / "vectors.npy").write_bytes(b"cut")
    with pytest.raises(ValueError, match="vectors.npy is no array of numbers.*delete .*rows, and the command"):
        list(ShardedEmbeddings.open(rows.folder).parts())
