"""One step of fine-tuning an image tower, as benchmarks at true size measure it."""

from collections.abc import Callable

import torch
from torch import nn

WEIGHT_DECAY = 0.05  # default of train_a.py, as is the share below which layers are frozen:
FREEZE_BELOW = 0.15


def fine_tuning_step(
    forward: Callable[[torch.Tensor], torch.Tensor], groups: list[dict], pixels: torch.Tensor, precision: torch.dtype
) -> Callable[[], None]:
    """Forward, backward and AdamW on `groups`, towards random targets; fp16 with its scaler."""
    optimizer = torch.optim.AdamW(groups, fused=True)
    scaler = torch.amp.GradScaler(pixels.device.type, enabled=precision == torch.float16)

    def step() -> None:
        predictions = in_precision(forward, pixels, precision).float()
        loss = 1 - nn.functional.cosine_similarity(predictions, torch.randn_like(predictions)).mean()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)

    return step


def in_precision(forward: Callable, pixels: torch.Tensor, precision: torch.dtype) -> torch.Tensor:
    with torch.autocast(pixels.device.type, precision, enabled=precision != torch.float32):
        return forward(pixels)
