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


def operations_and_traffic(model: nn.Module, pixels: torch.Tensor) -> tuple[float, float]:
    """(operations, bytes) of one row: each layer that multiplies reads its input once and writes its output once.

    Where gradients are kept, the backward does as much again for weights that learn, and for an input whose gradient is
    wanted below. (Torch's own counter takes a depthwise layer's gradient for that of a full one.) Weights, which stay
    in the cache over a batch, and all other layers, which a graph joins to these, count nothing.
    """
    operations, traffic = [], []

    def note(layer, inputs, output):
        learns = torch.is_grad_enabled() and layer.weight.requires_grad
        times = 1 + learns + inputs[0].requires_grad
        operations.append(times * 2 * output.numel() * layer.weight[0].numel())
        traffic.append(times * sum(numbers.numel() * numbers.element_size() for numbers in (inputs[0], output)))

    hooks = [layer.register_forward_hook(note) for layer in model.modules() if isinstance(layer, LAYERS)]
    model(pixels)
    for hook in hooks:
        hook.remove()
    return sum(operations) / len(pixels), sum(traffic) / len(pixels)
