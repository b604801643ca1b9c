from clipknight.embedding.embeddings import Embeddings
from clipknight.ensemble.members import aligned_members, open_members

import numpy as np
import pytest


def rows(ids, dim=3):
    return Embeddings(np.array(list(ids), dtype=object), np.random.default_rng(0).random((len(ids), dim), np.float32))


def test_members_are_aligned_by_id():
    a, b = rows("abc"), rows("cab")
    aligned = aligned_members({"one": a, "two": b})
    assert aligned["two"].ids.tolist() == ["a", "b", "c"]
    np.testing.assert_array_equal(aligned["two"].vectors, b.vectors[[1, 2, 0]])


def test_members_of_different_images_are_named():
    with pytest.raises(ValueError, match=r"4 in all: one lacks 1 \(d\); two lacks 2 \(a, b\)"):
        aligned_members({"one": rows("abc"), "two": rows("cd")})


def test_members_of_different_dimensions_are_named():
    with pytest.raises(ValueError, match="one 3, two 4"):
        aligned_members({"one": rows("abc"), "two": rows("abc", dim=4)})


def test_open_members_refuses_one_member_and_one_twice(started, own_outputs):
    started("a"), started("b")
    assert list(open_members(["b", "a"])) == ["b", "a"]
    with pytest.raises(ValueError, match="two members or more, not 1"):
        open_members(["a"])
    with pytest.raises(ValueError, match="twice: a, a"):
        open_members(["a", "b", str(own_outputs / "a")])
    with pytest.raises(FileNotFoundError, match="there are: a, b"):
        open_members(["a", "c"])
