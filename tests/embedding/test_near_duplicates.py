"""The similarity filter by cells, against the exact one."""

from clipknight.data.caption_filter import filter_similar
from clipknight.embedding import near_duplicates
from clipknight.embedding.embeddings import unit
from clipknight.embedding.near_duplicates import filter_by_cells, missed
from clipknight.embedding.row_parts import RowParts

import numpy as np
import pytest


def groups(rows=900, dim=24, seed=0):
    """Rows about a third of which are like others, with cosines around .85."""
    draw = np.random.default_rng(seed)
    centres = draw.standard_normal((rows // 3, dim))
    away = draw.standard_normal((rows, dim)) * draw.uniform(0, 0.6, (rows, 1))
    return unit(centres[draw.integers(len(centres), size=rows)] + away).astype(np.float32)


@pytest.mark.parametrize("first", [8, 1])  # of a row's pairs: what is cut off is looked for again
@pytest.mark.parametrize("shuffled", [False, True])
def test_rows_that_all_meet_are_filtered_as_exactly(monkeypatch, first, shuffled):
    monkeypatch.setattr(near_duplicates, "FIRST", first)
    monkeypatch.setattr(near_duplicates, "BLOCK_ROWS", 100)
    monkeypatch.setattr(near_duplicates, "CELL_ROWS", 70)
    vectors = groups()
    order = np.random.default_rng(1).permutation(len(vectors)) if shuffled else None
    exact = filter_similar(vectors, 0.85, order)
    found = filter_by_cells(RowParts([vectors[:400], vectors[400:]]), 0.85, order, cells=2)
    np.testing.assert_array_equal(found.dropped_by, exact.dropped_by)
    np.testing.assert_array_equal(found.cosine, exact.cosine)


def test_what_does_not_meet_is_missed_and_counted():
    vectors = groups(rows=3000, dim=8)
    rows, order = RowParts([vectors]), np.arange(3000)
    exact, found = filter_similar(vectors, 0.85), filter_by_cells(rows, 0.85, cells=75)
    wrong = (vectors @ vectors.T > 0.85) & (found.kept & (order < order[:, None])) & found.kept[:, None]
    share = wrong.any(axis=1).sum() / found.kept.sum()
    assert 0 < share < 0.2 and exact.kept.sum() < found.kept.sum()
    assert missed(rows, 0.85, order, found, sampled=5000) == pytest.approx(share)
    assert missed(rows, 0.85, order, exact) == 0


def test_a_thousand_repetitions_leave_one():
    vectors = np.repeat(unit(np.eye(3, dtype=np.float16)), 700, axis=0)
    found = filter_by_cells(RowParts([vectors], at_length_one=True), 0.85)
    assert np.flatnonzero(found.kept).tolist() == [0, 700, 1400]
    assert found.dropped_by[[1, 701, 2099]].tolist() == [0, 700, 1400]
