"""EfficientNet-Lite, for embeddings alone: TensorFlow's EfficientNet of 2020 without squeeze-and-excitation.

It computes what timm's `tf_efficientnet_lite0` to 2 compute, bit by bit, from weights of the same names. Without timm,
open_clip and a text tower, a first caption comes two seconds earlier. Whoever trains a tower, or looks into it, has
timm's.
"""

import math
from collections import OrderedDict

import torch
from torch import Tensor, nn

# How many blocks of each kind, their kernel and stride, times as many channels inside, and channels that come out.
STAGES = (1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192)
STAGES += ((1, 3, 1, 6, 320),)
SCALES = {"lite0": (1.0, 1.0), "lite1": (1.0, 1.1), "lite2": (1.1, 1.2)}  # of channels, and of blocks
STEM, FEATURES, CLASSES = 32, 1280, 1000


class LiteClip(nn.Module):
    """The image side of a packaged CLIP, under the names that open_clip gives its parts; all weights by chance."""

    def __init__(self, lite: str, dim: int):
        super().__init__()
        self.visual = nn.Module()
        self.visual.trunk = EfficientNetLite(*SCALES[lite])
        self.visual.head = nn.Sequential(OrderedDict(proj=nn.Linear(FEATURES, dim, bias=False)))

    def encode_image(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, dim), not unit."""
        return self.visual.head(self.visual.trunk(pixels))


class EfficientNetLite(nn.Module):
    """Pixels (B, 3, H, W) to features (B, 1280)."""

    def __init__(self, width: float, depth: float):
        super().__init__()
        self.conv_stem = _convolution(3, STEM, 3, stride=2)
        self.bn1 = BatchNormReLU6(STEM)
        stages, inputs = [], STEM
        for number, (count, kernel, stride, expansion, channels) in enumerate(STAGES):
            count = count if number in (0, len(STAGES) - 1) else math.ceil(count * depth)
            blocks, outputs = [], _of_eight(channels * width)
            for place in range(count):
                step = stride if place == 0 else 1
                if expansion == 1:
                    blocks.append(SeparableBlock(inputs, outputs, kernel, step))
                else:
                    blocks.append(InvertedBlock(inputs, expansion * inputs, outputs, kernel, step))
                inputs = outputs
            stages.append(nn.Sequential(*blocks))
        self.blocks = nn.Sequential(*stages)
        self.conv_head = _convolution(inputs, FEATURES, 1)
        self.bn2 = BatchNormReLU6(FEATURES)

    def forward(self, pixels: Tensor) -> Tensor:
        cells = self.bn2(self.conv_head(self.blocks(self.bn1(self.conv_stem(pixels)))))
        return nn.functional.adaptive_avg_pool2d(cells, 1).flatten(1)


class SeparableBlock(nn.Module):
    """Each channel by itself, then all together: (B, inputs, H, W) -> (B, outputs, H', W')."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int):
        super().__init__()
        self.is_added = inputs == outputs and stride == 1
        self.conv_dw = _convolution(inputs, inputs, kernel, stride, groups=inputs)
        self.bn1 = BatchNormReLU6(inputs)
        self.conv_pw = _convolution(inputs, outputs, 1)
        self.bn2 = nn.BatchNorm2d(outputs, eps=1e-3)

    def forward(self, cells: Tensor) -> Tensor:
        found = self.bn2(self.conv_pw(self.bn1(self.conv_dw(cells))))
        return found + cells if self.is_added else found


class InvertedBlock(nn.Module):
    """The same among `inner` channels, to which those that come in are widened."""

    def __init__(self, inputs: int, inner: int, outputs: int, kernel: int, stride: int):
        super().__init__()
        self.is_added = inputs == outputs and stride == 1
        self.conv_pw = _convolution(inputs, inner, 1)
        self.bn1 = BatchNormReLU6(inner)
        self.conv_dw = _convolution(inner, inner, kernel, stride, groups=inner)
        self.bn2 = BatchNormReLU6(inner)
        self.conv_pwl = _convolution(inner, outputs, 1)
        self.bn3 = nn.BatchNorm2d(outputs, eps=1e-3)

    def forward(self, cells: Tensor) -> Tensor:
        found = self.bn3(self.conv_pwl(self.bn2(self.conv_dw(self.bn1(self.conv_pw(cells))))))
        return found + cells if self.is_added else found


class BatchNormReLU6(nn.BatchNorm2d):
    """One module for both, as timm's weights are named."""

    def __init__(self, channels: int):
        super().__init__(channels, eps=1e-3)

    def forward(self, cells: Tensor) -> Tensor:
        return nn.functional.relu6(super().forward(cells), inplace=True)


class StridedConvolution(nn.Conv2d):
    """Padded as TensorFlow pads: no more than the stride needs, and an odd pixel at the end."""

    def forward(self, cells: Tensor) -> Tensor:
        (kernel, _), (stride, _) = self.kernel_size, self.stride
        high, wide = (max(0, (-(-int(side) // stride) - 1) * stride + kernel - int(side)) for side in cells.shape[-2:])
        return super().forward(nn.functional.pad(cells, [wide // 2, wide - wide // 2, high // 2, high - high // 2]))


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    if stride > 1:
        return StridedConvolution(inputs, outputs, kernel, stride, groups=groups, bias=False)
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False)


def _of_eight(channels: float) -> int:
    """The nearest multiple of 8, not below nine tenths."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels else nearest


def draw_projection(clip: LiteClip) -> None:
    """Give `clip` the untrained projection that open_clip draws from seed 0 after timm has drawn the tower.

    Nothing is computed with it, but an encoder's fingerprint holds it. Torch's generator is moved.
    """
    convolutions = [layer for layer in clip.visual.trunk.modules() if isinstance(layer, nn.Conv2d)]
    stem, *others = convolutions
    attention_tried = [nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)]  # by timm, whether or not a tower has some
    classifier = nn.Linear(FEATURES, CLASSES)
    torch.manual_seed(0)
    for layer in (stem, *attention_tried, *others, classifier):
        layer.reset_parameters()
    for layer in convolutions:
        nn.init.normal_(layer.weight)
    nn.init.uniform_(classifier.weight)
    clip.visual.head.proj.reset_parameters()
