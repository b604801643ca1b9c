"""The length at which an embedding enters a network."""

from torch import Tensor, nn


def root_scaled(vectors: Tensor) -> Tensor:
    """Rows (..., D) at length √D: entries of unit size whatever the encoder, so that one learning rate fits all."""
    return nn.functional.normalize(vectors, dim=-1) * vectors.shape[-1] ** 0.5
