"""An encoder's image tower as a graph, for another backend than torch."""

import functools
from collections.abc import Callable
from dataclasses import replace

from clipknight.embedding.backends import MANY_IMAGES, backend_for, checked_graph, precision_of
from clipknight.embedding.graphs import Graph
from clipknight.embedding.image_encoder import ImageEncoder

import torch
from torch import Tensor, nn

COMPARED = 8  # pictures on which a graph is compared with torch


def by_backend(encoder: ImageEncoder, rows: int, has_rows: Callable[[ImageEncoder], bool]) -> ImageEncoder:
    """`encoder` as the backend runs it that is wanted for so many images; `has_rows` tells whether they are kept."""

    def graph(backend: str) -> Graph:
        return image_graph(run_by(backend, encoder))

    chosen = backend_for(encoder.device, rows, MANY_IMAGES, lambda backend: has_rows(run_by(backend, encoder)), graph)
    return run_by(chosen, encoder)


def run_by(backend: str, encoder: ImageEncoder) -> ImageEncoder:
    """The encoder as that backend runs it. Its graph is made, or read, by the first call."""
    if backend == "torch":
        return encoder
    other = replace(encoder, backend=backend, precision=precision_of(backend, encoder.precision))
    other.graph = functools.cache(lambda: image_graph(other))
    return other


def image_graph(encoder: ImageEncoder) -> Graph:
    """The graph of the tower for the encoder's backend, which mirrors nothing. NotAGraph."""
    fingerprint = replace(encoder, mirrored=False).fingerprint("visual")
    pixels = soft_pixels(COMPARED, encoder.image_size)
    axes, tower = {"pixels": {0: "rows"}}, ImageTower(encoder)
    return checked_graph(encoder.name, fingerprint, tower, {"pixels": pixels}, axes, encoder.backend, encoder.precision)


class ImageTower(nn.Module):
    """An encoder's image tower: pixels (B, 3, H, W) -> image embedding (B, D), not unit."""

    def __init__(self, encoder: ImageEncoder):
        super().__init__()
        self.projected, self.model = encoder.projected, encoder.model

    def forward(self, pixels: Tensor) -> Tensor:
        return self.model.encode_image(pixels) if self.projected else self.model.visual.trunk(pixels)


def soft_pixels(count: int, size: int) -> Tensor:
    """(count, 3, size, size) of seeded soft colours, spread as normalised pictures are."""
    coarse = torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return nn.functional.interpolate(coarse, (size, size), mode="bicubic")
