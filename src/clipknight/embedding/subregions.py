"""Sub-regions of a picture in the joint space: the image side of MacCap (Qiu et al. 2024).

A caption tells a part of a picture, the image embedding all of it. MacCap brings them nearer: each of the cells
(patches) that the image embedding attends to most gathers the cells like it into one vector, which joins the embedding.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from clipknight.data.images import read_image
from clipknight.embedding.clip_encoder import ClipEncoder
from clipknight.embedding.embeddings import unit
from clipknight.embedding.tower_cells import seen_by
from clipknight.waiting import SHOWN_AFTER, progress_bar

import numpy as np
import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class SubRegions:
    """`whole` (B, D), the image embedding, and `regions` (B, n, D), the most attended first: unit rows, float32.

    `attention` (B, H, W) is how much the image embedding attends to each cell of the grid, and `cells` (B, n) numbers
    the cells that lead the regions, counted row by row in that grid.
    """

    whole: np.ndarray
    regions: np.ndarray
    cells: np.ndarray
    attention: np.ndarray

    def joined(self, weight: float = 1.0) -> np.ndarray:
        """(B, n, D) what MacCap decodes from, before its noise: whole + weight · region, at length 1."""
        return unit(self.whole[:, None] + np.float32(weight) * self.regions)


@torch.inference_mode()
def subregion_features(encoder: ClipEncoder, pixels: Tensor, regions: int = 10, temperature: float = 1.0) -> SubRegions:
    """Image embedding and sub-region features of `pixels` (B, 3, H, W); Qiu et al. 2024, sub-region aggregation.

    The `regions` cells with most attention are picked. A softmax over the attention row of each, divided by
    `temperature`, weighs the unit projected cells, whose sum at length 1 is the region. At 1, the authors' value, the
    weights are nearly even, for an attention row has been through a softmax before. The attention, mean over heads:

    - ViT with a class token: that token's in the last layer, as published. It is no cell itself; the authors' code
      lets it be picked and weighed like one.
    - open_clip's ResNets: the attention pool's, where the mean cell asks as a class token would. The pool's value and
      output layers project a cell, as if it alone were attended to.
    - Any other (EfficientNet, ConvNeXt, a ViT that averages or has a latent query) has none. A cell goes through the
      head by itself; its cosine to the image embedding stands for attention, its cosines to the cells for its row.
      That is likeness: a cell unlike the picture as a whole never leads a region, however telling it is.

    ValueError for more regions than cells, and for a tower whose patches have no place in the joint space.
    """
    with torch.autocast(encoder.device.type, encoder.precision, enabled=encoder.precision != torch.float32):
        seen = seen_by(encoder, pixels.to(encoder.device, memory_format=encoder.memory_format))
    whole, cells = (nn.functional.normalize(vectors.float(), dim=-1) for vectors in (seen.whole, seen.cells))
    if seen.attention is None:
        attention, rows = torch.einsum("bd,bnd->bn", whole, cells), cells @ cells.mT
    else:
        attention, rows = seen.attention[:, 0, 1:].float(), seen.attention[:, 1:, 1:].float()
    _check(encoder, seen.grid, regions, temperature)
    picked = attention.argsort(dim=1, descending=True, stable=True)[:, :regions]
    own_rows = rows.gather(1, picked[..., None].expand(-1, -1, cells.shape[1]))
    gathered = nn.functional.normalize((own_rows / temperature).softmax(dim=-1) @ cells, dim=-1)
    found = whole, gathered, picked, attention.unflatten(1, seen.grid)
    return SubRegions(*(tensor.cpu().numpy() for tensor in found))


def whole_and_regions(encoder: ClipEncoder, pixels: Tensor, regions: int) -> np.ndarray:
    """(B, (1 + n) D) rows of the image embedding and its n sub-regions, one after the other."""
    found = subregion_features(encoder, pixels, regions)
    return np.concatenate([found.whole[:, None], found.regions], axis=1).reshape(len(pixels), -1)


def encode_subregions(
    encoder: ClipEncoder,
    paths: Sequence[str],
    regions: int = 10,
    batch_size: int = 32,
    workers: int = 2,
) -> SubRegions:
    """`subregion_features` of image files, B files in all. UnreadableImage for the first that can't be read."""
    parts = []
    bar = progress_bar(total=len(paths), desc="sub-regions", unit="img", delay=SHOWN_AFTER)
    with bar, ThreadPoolExecutor(max(workers, 1)) as pool:
        for start in range(0, len(paths), batch_size):
            batch = paths[start : start + batch_size]
            pictures = pool.map(lambda path: encoder.preprocess(read_image(path, encoder.decoded_size)), batch)
            pixels = torch.stack(list(pictures))
            parts.append(subregion_features(encoder, pixels, regions))
            bar.update(len(batch))
    return SubRegions(*map(np.concatenate, zip(*(vars(part).values() for part in parts))))


def _check(encoder: ClipEncoder, grid: tuple[int, int], regions: int, temperature: float) -> None:
    if not 1 <= regions <= grid[0] * grid[1]:
        raise ValueError(
            f"{encoder.name!r} sees {grid[0]} x {grid[1]} cells, of which {regions} regions cannot be taken: "
            "ask for fewer, or for a larger image"
        )
    if temperature <= 0:
        raise ValueError(f"a temperature is above 0, not {temperature:g}")
