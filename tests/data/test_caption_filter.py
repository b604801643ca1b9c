import math
import tracemalloc

from clipknight.data import caption_filter
from clipknight.data.caption_filter import filter_similar, listed_captions
from clipknight.data.datasets import read_dataset
from clipknight.embedding.embeddings import unit

import numpy as np
import pytest


def double_loop(vectors, threshold, order):
    """(kept row that dropped it or -1, cosine or NaN) of each row, one pair at a time."""
    rows, kept, found = [row.tolist() for row in vectors.astype(float)], [], {}
    for i in order:
        found[i] = (-1, math.nan)
        for j in kept:
            cosine = math.fsum(a * b for a, b in zip(rows[i], rows[j], strict=True))
            if cosine > threshold:
                found[i] = (j, cosine)
                break
        else:
            kept.append(i)
    return [found[i] for i in range(len(rows))]


def assert_same(filtered, expected):
    assert filtered.dropped_by.tolist() == [by for by, _ in expected]
    np.testing.assert_allclose(filtered.cosine, [cosine for _, cosine in expected], atol=1e-14)
    np.testing.assert_array_equal(filtered.kept, [by < 0 for by, _ in expected])


def clusters(rows=300, dim=24, seed=0):
    draw = np.random.default_rng(seed)
    centres = draw.normal(size=(40, dim))
    return unit(centres[draw.integers(40, size=rows)] + 0.3 * draw.normal(size=(rows, dim))).astype(np.float32)


def at_the_threshold(rows=200, dim=64, seed=0):
    """Each row's cosine with the first lies within 3e-8 of 0.85, closer than float32 products can tell."""
    draw = np.random.default_rng(seed)
    first = unit(draw.normal(size=dim)).astype(np.float32)
    along = first / (first.astype(float) @ first)  # its product with the first is 1
    away = draw.normal(size=(rows, dim))
    away = unit(away - np.outer(away @ first, along))
    others = 0.85 * along + math.sqrt(1 - 0.85**2) * away
    return np.concatenate([first[None], others.astype(np.float32)])


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.85, 0.95])
def test_equal_to_a_double_loop(threshold):
    vectors = clusters()
    filtered = filter_similar(vectors, threshold, block_rows=32, kept_rows=16)
    assert_same(filtered, double_loop(vectors, threshold, range(len(vectors))))
    assert 0 < filtered.kept.sum() < len(vectors)


def test_the_order_decides_what_is_kept():
    vectors, order = clusters(), np.random.default_rng(1).permutation(300)
    shuffled = filter_similar(vectors, 0.8, order, block_rows=50, kept_rows=20)
    assert_same(shuffled, double_loop(vectors, 0.8, order.tolist()))
    assert shuffled.kept[order[0]]
    assert shuffled.kept.tolist() != filter_similar(vectors, 0.8).kept.tolist()


@pytest.mark.parametrize("block_rows, kept_rows", [(1, 1), (7, 3), (64, 5), (3, 500), (500, 500)])
def test_block_sizes_change_nothing_even_at_the_threshold(block_rows, kept_rows):
    vectors = np.concatenate([at_the_threshold(), clusters(dim=64)])
    exact = vectors[:201].astype(float) @ vectors[0].astype(float) > 0.85
    assert 40 < exact[1:].sum() < 160
    assert (exact != (vectors[:201] @ vectors[0] > np.float32(0.85))).any()  # float32 alone would be wrong
    assert_same(
        filter_similar(vectors, 0.85, block_rows=block_rows, kept_rows=kept_rows),
        double_loop(vectors, 0.85, range(len(vectors))),
    )


def test_a_cosine_equal_to_the_threshold_is_kept():
    vectors = np.array([[1, 1, 1, 1], [1, 1, 1, -1], [-1, 1, 1, 1]], dtype=np.float32) / 2  # cosines 1/2, 1/2, 0
    assert filter_similar(vectors, 0.5).kept.all()
    dropped = filter_similar(vectors, 0.49)
    assert dropped.dropped_by.tolist() == [-1, 0, 0] and dropped.cosine[1:].tolist() == [0.5, 0.5]


def test_a_dropped_row_drops_nothing():
    angles = np.array([0, 0.4, 0.8, 1.2])  # each is like its neighbours alone
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    for block_rows in (1, 4):
        assert filter_similar(vectors, 0.9, block_rows=block_rows).dropped_by.tolist() == [-1, 0, -1, 2]


def test_repeated_rows_leave_one_each():
    vectors = clusters()[np.random.default_rng(0).integers(5, size=200)]
    filtered = filter_similar(vectors, 0.9999, block_rows=30)
    assert filtered.kept.sum() == len(np.unique(vectors, axis=0)) == 5
    assert len(filter_similar(vectors[:0]).dropped_by) == 0


@pytest.mark.parametrize("different, expected", [(2000, 2000), (20, 20)])
def test_memory_is_bounded_by_the_blocks(tmp_path, monkeypatch, different, expected):
    monkeypatch.setattr(caption_filter, "RECHECKED", 2**14)
    rows = unit(np.random.default_rng(0).normal(size=(different, 512))).astype(np.float32)
    np.save(tmp_path / "vectors.npy", np.tile(rows, (2000 // different, 1)))
    vectors = np.load(tmp_path / "vectors.npy", mmap_mode="r")
    tracemalloc.start()
    kept = filter_similar(vectors, 0.99, block_rows=64, kept_rows=64).kept
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert kept.sum() == expected and peak < vectors.nbytes / 4


@pytest.mark.parametrize("threshold", [0, 1, 1.5, -0.2, math.nan])
def test_a_threshold_that_cannot_be_one_is_refused(threshold):
    with pytest.raises(ValueError, match="a cosine above 0 and below 1"):
        filter_similar(clusters(), threshold)


@pytest.mark.parametrize("value", [2, math.nan])
def test_rows_that_are_not_unit_are_refused(value):
    vectors = clusters()
    vectors[170] *= value
    with pytest.raises(ValueError, match="row 170 has length (2|nan): scale rows to length 1"):
        filter_similar(vectors, block_rows=100)


@pytest.mark.parametrize("order", [[0, 1], [0, 1, 1], [0, 1, 3]])
def test_an_order_that_leaves_rows_out_is_refused(order):
    with pytest.raises(ValueError, match="the order is no permutation of the 3 rows"):
        filter_similar(clusters(3), order=order)


@pytest.fixture
def dataset(tmp_path):
    (tmp_path / "data" / "Images" / "sub").mkdir(parents=True)
    for name in ("a.b.jpg", "sub/c.png"):
        (tmp_path / "data" / "Images" / name).touch()
    lines = ["a.b.jpg,twice", 'a.b.jpg,"one, with ""quotes"""', "a.b.jpg,twice", "sub/c.png,twice"]
    (tmp_path / "data" / "captions.txt").write_text("\n".join(["image,caption", *lines, ""]), encoding="utf-8")
    return read_dataset(tmp_path / "data")


def table(tmp_path, *lines):
    (tmp_path / "kept.csv").write_text("\n".join(["image,caption", *lines, ""]), encoding="utf-8")
    return tmp_path / "kept.csv"


@pytest.mark.parametrize("c", ["sub/c.png", "sub/c", "sub\\c.png"])
def test_captions_are_found_in_a_table(dataset, tmp_path, c):
    assert listed_captions(dataset, table(tmp_path, f"{c},twice", "a.b.jpg,twice")).tolist() == [
        True,
        False,
        False,
        True,
    ]
    assert listed_captions(dataset, table(tmp_path, "a.b,twice", "a.b,twice")).tolist() == [True, False, True, False]
    assert listed_captions(dataset, table(tmp_path, 'a.b,"one, with ""quotes"""')).tolist() == [
        False,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize("line", ["sub/c.png,other", "d.png,twice", "c.png,twice"])
def test_a_table_of_other_captions_is_refused(dataset, tmp_path, line):
    path = table(tmp_path, "a.b.jpg,twice", line)
    with pytest.raises(ValueError, match=f"1 of 2 rows of .* are no captions of data, the first in row 3: {line[:5]}"):
        listed_captions(dataset, path)
    with pytest.raises(ValueError, match="1 of 3 rows"):
        listed_captions(dataset, table(tmp_path, *["a.b.jpg,twice"] * 3))
