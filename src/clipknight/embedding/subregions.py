"""Sub-regions of a picture in the joint space: the image side of MacCap (Qiu et al. 2024).

A caption tells a part of a picture, the image embedding all of it. MacCap brings them nearer: each of the cells
(patches) that the image embedding attends to most gathers the cells like it into one vector, which joins the embedding.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from clipknight.data.images import read_image
from clipknight.embedding.clip import ClipEncoder
from clipknight.embedding.embeddings import unit

import numpy as np
import torch
from open_clip.modified_resnet import AttentionPool2d, ModifiedResNet
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn
from tqdm import tqdm


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
        seen = _seen(encoder, pixels.to(encoder.device, memory_format=torch.channels_last))
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


def encode_subregions(
    encoder: ClipEncoder,
    paths: Sequence[str],
    regions: int = 10,
    batch_size: int = 32,
    workers: int = 2,
) -> SubRegions:
    """`subregion_features` of image files, B files in all. UnreadableImage for the first that can't be read."""
    parts = []
    bar = tqdm(total=len(paths), desc="sub-regions", unit="img", disable=len(paths) <= batch_size)
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


@dataclass(frozen=True)
class _Seen:
    """What a tower gives: `whole` (B, D), `cells` (B, H·W, D) projected, neither unit, and the `grid` (H, W).

    `attention` (B, 1 + H·W, 1 + H·W) has the row and column of the class token first; None where the tower has none.
    """

    whole: Tensor
    cells: Tensor
    grid: tuple[int, int]
    attention: Tensor | None = None


def _seen(encoder: ClipEncoder, pixels: Tensor) -> _Seen:
    visual = encoder.visual
    if hasattr(visual, "trunk"):
        return _timm(encoder, pixels)
    if isinstance(visual, ModifiedResNet):
        return _resnet(encoder, pixels)
    plain = isinstance(visual, VisionTransformer) and visual.attn_pool is None and visual.pool_type != "none"
    if plain and isinstance(visual.transformer.resblocks[-1].attn, nn.MultiheadAttention):
        return _vit(encoder, pixels)
    raise ValueError(f"the patches of {encoder.name!r} have no known way into the joint space: take another encoder")


def _vit(encoder: ClipEncoder, pixels: Tensor) -> _Seen:
    visual, attention = encoder.visual, encoder.visual.transformer.resblocks[-1].attn
    handle = attention.register_forward_pre_hook(_with_weights, with_kwargs=True)
    try:
        with _outputs(visual.transformer) as tokens, _outputs(attention) as attended:
            whole = encoder.features(pixels)
    finally:
        handle.remove()
    cells = visual.ln_post(tokens[0][:, 1:]) @ visual.proj
    return _Seen(whole, cells, visual.grid_size, attended[0][1] if visual.pool_type == "tok" else None)


def _with_weights(module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
    return args, {**kwargs, "need_weights": True}


def _resnet(encoder: ClipEncoder, pixels: Tensor) -> _Seen:
    with _outputs(encoder.visual.layer4) as maps:
        whole = encoder.features(pixels)
    pool: AttentionPool2d = encoder.visual.attnpool
    tokens = maps[0].flatten(2).mT
    tokens = torch.cat([tokens.mean(dim=1, keepdim=True), tokens], dim=1) + pool.positional_embedding
    queries, keys = (
        layer(tokens).unflatten(-1, (pool.num_heads, -1)).transpose(1, 2) for layer in (pool.q_proj, pool.k_proj)
    )
    attention = (queries @ keys.mT / queries.shape[-1] ** 0.5).softmax(dim=-1).mean(dim=1)
    return _Seen(whole, pool.c_proj(pool.v_proj(tokens[:, 1:])), tuple(maps[0].shape[2:]), attention)


def _timm(encoder: ClipEncoder, pixels: Tensor) -> _Seen:
    """Whatever its head pools: of one cell, or of copies of it, pooling makes that cell."""
    trunk = encoder.visual.trunk

    def head(features: Tensor) -> Tensor:
        pooled = trunk.forward_head(features)
        return encoder.visual.head(pooled) if encoder.projected else pooled

    with ExitStack() as stack:
        attended = _attention_of(trunk, stack)
        features = trunk.forward_features(pixels)
    if features.ndim == 4:
        channels_last = getattr(trunk, "output_fmt", "NCHW") == "NHWC"
        maps = features if channels_last else features.permute(0, 2, 3, 1)
        alone = maps.flatten(0, 2)
        alone = alone[:, None, None] if channels_last else alone[:, :, None, None]
        return _Seen(head(features), head(alone).unflatten(0, (len(maps), -1)), tuple(maps.shape[1:3]))
    prefix = trunk.num_prefix_tokens
    cells = features[:, prefix:]
    alone = cells.flatten(0, 1)[:, None].expand(-1, prefix + 1, -1)
    attention = None
    if attended is not None:
        kept = [0, *range(prefix, features.shape[1])]  # registers are no cells
        attention = attended[0].mean(dim=1)[:, kept][:, :, kept]
    grid = tuple(trunk.patch_embed.grid_size)
    return _Seen(head(features), head(alone).unflatten(0, (len(cells), -1)), grid, attention)


def _attention_of(trunk: nn.Module, stack: ExitStack) -> list[Tensor] | None:
    """Where the last layer's attention (B, heads, L, L) of a ViT with a class token will be, while `stack` is open."""
    if getattr(trunk, "global_pool", None) != "token" or not trunk.num_prefix_tokens:
        return None
    attention = trunk.blocks[-1].attn
    stack.callback(setattr, attention, "fused_attn", attention.fused_attn)
    attention.fused_attn = False  # the fused kernel never has the weights in one place
    return stack.enter_context(_outputs(attention.attn_drop))


@contextmanager
def _outputs(module: nn.Module) -> Iterator[list]:
    """The outputs of `module`, call by call."""
    outputs: list = []
    handle = module.register_forward_hook(lambda _module, _args, output: outputs.append(output))
    try:
        yield outputs
    finally:
        handle.remove()
