"""What an image tower gives beside the image embedding: its cells (patches) in the joint space, and their attention."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from clipknight.embedding.clip_encoder import ClipEncoder

import torch
from open_clip.modified_resnet import AttentionPool2d, ModifiedResNet
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn


@dataclass(frozen=True)
class Seen:
    """What a tower gives: `whole` (B, D), `cells` (B, H·W, D) projected, neither unit, and the `grid` (H, W).

    `attention` (B, 1 + H·W, 1 + H·W) has the row and column of the class token first; None where the tower has none.
    """

    whole: Tensor
    cells: Tensor
    grid: tuple[int, int]
    attention: Tensor | None = None


def seen_by(encoder: ClipEncoder, pixels: Tensor) -> Seen:
    visual = encoder.visual
    if hasattr(visual, "trunk"):
        return _timm(encoder, pixels)
    if isinstance(visual, ModifiedResNet):
        return _resnet(encoder, pixels)
    plain = isinstance(visual, VisionTransformer) and visual.attn_pool is None and visual.pool_type != "none"
    if plain and isinstance(visual.transformer.resblocks[-1].attn, nn.MultiheadAttention):
        return _vit(encoder, pixels)
    raise ValueError(f"the patches of {encoder.name!r} have no known way into the joint space: take another encoder")


def _vit(encoder: ClipEncoder, pixels: Tensor) -> Seen:
    visual, attention = encoder.visual, encoder.visual.transformer.resblocks[-1].attn
    handle = attention.register_forward_pre_hook(_with_weights, with_kwargs=True)
    try:
        with outputs_of(visual.transformer) as tokens, outputs_of(attention) as attended:
            whole = encoder.features(pixels)
    finally:
        handle.remove()
    cells = visual.ln_post(tokens[0][:, 1:]) @ visual.proj
    return Seen(whole, cells, visual.grid_size, attended[0][1] if visual.pool_type == "tok" else None)


def _with_weights(module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
    return args, {**kwargs, "need_weights": True}


def _resnet(encoder: ClipEncoder, pixels: Tensor) -> Seen:
    with outputs_of(encoder.visual.layer4) as maps:
        whole = encoder.features(pixels)
    pool: AttentionPool2d = encoder.visual.attnpool
    tokens = maps[0].flatten(2).mT
    tokens = torch.cat([tokens.mean(dim=1, keepdim=True), tokens], dim=1) + pool.positional_embedding
    queries, keys = (
        layer(tokens).unflatten(-1, (pool.num_heads, -1)).transpose(1, 2) for layer in (pool.q_proj, pool.k_proj)
    )
    attention = (queries @ keys.mT / queries.shape[-1] ** 0.5).softmax(dim=-1).mean(dim=1)
    return Seen(whole, pool.c_proj(pool.v_proj(tokens[:, 1:])), tuple(maps[0].shape[2:]), attention)


def _timm(encoder: ClipEncoder, pixels: Tensor) -> Seen:
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
        return Seen(head(features), head(alone).unflatten(0, (len(maps), -1)), tuple(maps.shape[1:3]))
    prefix = trunk.num_prefix_tokens
    cells = features[:, prefix:]
    alone = cells.flatten(0, 1)[:, None].expand(-1, prefix + 1, -1)
    attention = None
    if attended is not None:
        kept = [0, *range(prefix, features.shape[1])]  # registers are no cells
        attention = attended[0].mean(dim=1)[:, kept][:, :, kept]
    grid = tuple(trunk.patch_embed.grid_size)
    return Seen(head(features), head(alone).unflatten(0, (len(cells), -1)), grid, attention)


def _attention_of(trunk: nn.Module, stack: ExitStack) -> list[Tensor] | None:
    """Where the last layer's attention (B, heads, L, L) of a ViT with a class token will be, while `stack` is open."""
    if getattr(trunk, "global_pool", None) != "token" or not trunk.num_prefix_tokens:
        return None
    attention = trunk.blocks[-1].attn
    stack.callback(setattr, attention, "fused_attn", attention.fused_attn)
    attention.fused_attn = False  # the fused kernel never has the weights in one place
    return stack.enter_context(outputs_of(attention.attn_drop))


@contextmanager
def outputs_of(module: nn.Module) -> Iterator[list]:
    """The outputs of `module`, call by call."""
    outputs: list = []
    handle = module.register_forward_hook(lambda _module, _args, output: outputs.append(output))
    try:
        yield outputs
    finally:
        handle.remove()
