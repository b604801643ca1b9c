"""What a model has to do at the least: multiplications and additions, and bytes in and out of memory."""

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

LAYERS = (nn.Conv2d, nn.Linear)


def operations_of(work) -> int:
    """Floating-point operations of what `work()` multiplies by torch."""
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


@torch.inference_mode()
def operations_and_traffic(model: nn.Module, pixels: torch.Tensor) -> tuple[float, float]:
    """(operations, bytes) of one row: each layer that multiplies reads its input once and writes its output once.

    Weights, which stay in the cache over a batch, and all other layers, which a graph joins to these, count nothing.
    """
    traffic = []

    def note(layer, inputs, output):
        traffic.append(inputs[0].numel() * inputs[0].element_size() + output.numel() * output.element_size())

    hooks = [layer.register_forward_hook(note) for layer in model.modules() if isinstance(layer, LAYERS)]
    operations = operations_of(lambda: model(pixels))
    for hook in hooks:
        hook.remove()
    return operations / len(pixels), sum(traffic) / len(pixels)
