"""Weights of files in 16 bits: half as large, and nearly the same numbers."""

import shutil
from pathlib import Path

from clipknight.saved_files import read_noted_tensors

import torch
from safetensors.torch import save_file

LARGEST = torch.finfo(torch.float16).max
REMEDY = "make the run again, with --overwrite"


def in_16_bits(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same with float32 matrices in 16 bits. Vectors stay, which are small and scale all else, and huge numbers."""
    return {name: tensor.half() if _fits(tensor) else tensor for name, tensor in tensors.items()}


def copy_weights(source: Path, target: Path, half: bool) -> None:
    """Copy a safetensors file; with `half` its matrices in 16 bits."""
    if not half:
        shutil.copyfile(source, target)
        return
    tensors, notes = read_noted_tensors(source, REMEDY)
    save_file({n: t.contiguous() for n, t in in_16_bits(tensors).items()}, target, dict(notes))


def _fits(tensor: torch.Tensor) -> bool:
    return tensor.dtype == torch.float32 and tensor.ndim > 1 and bool(tensor.abs().max() <= LARGEST)
