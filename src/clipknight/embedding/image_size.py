"""Image towers at another size than their own: positions are resampled, all other weights shared."""

import copy

import torch
from open_clip.model import resize_pos_embed
from open_clip.modified_resnet import ModifiedResNet
from torch import nn


def resized(model: nn.Module, size: int) -> nn.Module:
    """`model` for images of `size` pixels a side. Its weights are those of `model` itself, positions aside.

    ValueError for a size that its image tower cannot take.
    """
    other = copy.deepcopy(model, {id(parameter): parameter for parameter in model.parameters()})
    with torch.no_grad():
        if hasattr(other.visual, "trunk"):
            _resize_timm(other.visual, size)
        elif isinstance(other.visual, ModifiedResNet):
            _resize_resnet(other.visual, size)
        else:
            _resize_vit(other, size)
    return other


def _resize_timm(visual: nn.Module, size: int) -> None:
    """timm resamples where a tower has positions; a convolutional tower has none."""
    patch = getattr(getattr(visual.trunk, "patch_embed", None), "patch_size", (1,))
    _refuse_below(size, max(patch))
    visual.set_input_size(size)


def _resize_vit(model: nn.Module, size: int) -> None:
    visual = model.visual
    _refuse_below(size, max(visual.patch_size))
    visual.image_size = (size, size)
    visual.grid_size = tuple(size // patch for patch in visual.patch_size)
    positions = {"visual.positional_embedding": visual.positional_embedding}
    resize_pos_embed(positions, model)
    visual.positional_embedding = _parameter(visual.positional_embedding, positions["visual.positional_embedding"])


def _resize_resnet(visual: ModifiedResNet, size: int) -> None:
    """open_clip's ResNets halve an image five times, and pool what is left with a position for each cell."""
    if size < 32 or size % 32:
        raise ValueError(f"an image of {size} pixels a side does not fit this tower: take a multiple of 32")
    pool, cells = visual.attnpool, size // 32
    grid = nn.Module()
    grid.visual = nn.Module()
    grid.visual.grid_size = (cells, cells)
    positions = {"visual.positional_embedding": pool.positional_embedding}
    resize_pos_embed(positions, grid)
    pool.positional_embedding = _parameter(pool.positional_embedding, positions["visual.positional_embedding"])
    visual.image_size = size


def _refuse_below(size: int, smallest: int) -> None:
    if size < smallest:
        raise ValueError(f"an image of {size} pixels a side is smaller than one patch: take {smallest} or more")


def _parameter(old: nn.Parameter, positions: torch.Tensor) -> nn.Parameter:
    return nn.Parameter(positions.detach().clone(), requires_grad=old.requires_grad)
