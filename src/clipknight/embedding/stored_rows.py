"""Rows of numbers as tensors of a pack: in 32 bits, in 16, or in 8, where each row has a scale of its own."""

from collections.abc import Mapping

import numpy as np

LARGEST = 127  # of 8 bits


def stored_rows(name: str, rows: np.ndarray, bits: int = 32) -> dict[str, np.ndarray]:
    """The tensors that `restored_rows` reads, of `rows` (M, D)."""
    if bits != 8:
        return {name: np.ascontiguousarray(rows, np.float16 if bits == 16 else np.asarray(rows).dtype)}
    scale = np.abs(rows).max(axis=1, keepdims=True).astype(np.float32) / LARGEST
    whole = np.rint(rows / np.where(scale == 0, 1, scale)).astype(np.int8)
    return {name: np.ascontiguousarray(whole), f"{name}_scale": scale}


def restored_rows(name: str, tensors: Mapping) -> np.ndarray:
    """(M, D) rows of safetensors' torch tensors, those of fewer bits as float32."""
    rows = tensors[name].numpy()
    if rows.dtype == np.int8:
        return rows * tensors[f"{name}_scale"].numpy()
    return rows.astype(np.float32) if rows.dtype == np.float16 else rows
