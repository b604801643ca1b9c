from clipknight.embedding.stored_rows import restored_rows, stored_rows

import numpy as np
import pytest
import torch


@pytest.mark.parametrize("bits, most", [(32, 0), (16, 5e-4), (8, 4e-3)])
def test_rows_are_restored_to_what_their_bits_can_hold(bits, most):
    rows = np.random.default_rng(0).standard_normal((20, 16)).astype(np.float32) * np.logspace(-3, 3, 20)[:, None]
    rows = rows.astype(np.float32)
    rows[3] = 0
    stored = stored_rows("keys", rows, bits)
    again = restored_rows("keys", {name: torch.from_numpy(array) for name, array in stored.items()})
    assert again.dtype == np.float32 and stored["keys"].nbytes == rows.nbytes * bits // 32
    assert (np.abs(again - rows) <= most * np.abs(rows).max(axis=1, keepdims=True)).all()
