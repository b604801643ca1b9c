"""Several arrays read as one."""

from clipknight.embedding.row_parts import RowParts

import numpy as np
import pytest

WHOLE = np.random.default_rng(0).standard_normal((20, 3)).astype(np.float16)
ROWS = RowParts([WHOLE[:7], WHOLE[7:7], WHOLE[7:18], WHOLE[18:]])


@pytest.mark.parametrize("at", [slice(0, 20), slice(5, 9), slice(3, 3), slice(None, None, 4), [19, 0, 7, 7, 6], []])
def test_rows_by_slices_and_by_numbers(at):
    expected = WHOLE[np.asarray(at, dtype=int) if isinstance(at, list) else at].astype(np.float32)
    np.testing.assert_array_equal(ROWS[np.asarray(at, dtype=int) if isinstance(at, list) else at], expected)
    assert ROWS.shape == (20, 3) and len(ROWS) == 20


def test_pieces_cross_no_part():
    pieces = list(ROWS.pieces(5))
    assert [(start, len(rows)) for start, rows in pieces] == [(0, 5), (5, 2), (7, 5), (12, 5), (17, 1), (18, 2)]
    np.testing.assert_array_equal(np.concatenate([rows for _, rows in pieces]), WHOLE)


def test_halved_rows_are_brought_to_length_one():
    rows = RowParts([WHOLE], at_length_one=True)
    for found in (rows[2:5], rows[np.array([2, 3, 4])], np.concatenate([r for _, r in rows.pieces(20)])[2:5]):
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
        np.testing.assert_allclose(
            found[0] / found[0, 0], WHOLE[2].astype(np.float32) / np.float32(WHOLE[2, 0]), rtol=1e-5
        )


def test_parts_of_several_widths_are_refused():
    with pytest.raises(ValueError, match="parts of one width"):
        RowParts([WHOLE, WHOLE[:, :2]])
