"""How long rows are, and rows of length 1 without a copy where they are that already."""

import numpy as np


def unit_rows(X):
    """Rows of length 1, float32. Zero rows and those within 1e-6 of 1 stay: X itself returns where all are that."""
    step = max(1, 2**21 // X.shape[1])  # 16 MiB of float64 at a time
    pieces = [slice(start, start + step) for start in range(0, len(X), step)]
    length = np.concatenate([lengths(X[piece]) for piece in pieces])
    length[(np.abs(length - 1) < 1e-6) | (length == 0)] = 1
    if X.dtype == np.float32 and X.flags.c_contiguous and (length == 1).all():
        return X
    rows = np.empty(X.shape, dtype=np.float32)
    for piece in pieces:
        rows[piece] = X[piece] / length[piece, None]
    return rows


def lengths(X):
    """(N,) float64 of rows (N, D)."""
    return np.sqrt(np.square(X, dtype=np.float64).sum(axis=1))
