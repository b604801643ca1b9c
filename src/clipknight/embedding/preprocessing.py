"""From a picture to what an image tower sees, where a tower is loaded without open_clip and torchvision."""

from dataclasses import dataclass

from clipknight.data.images import middle_of_strip

import numpy as np
import torch
from PIL import Image
from torch import Tensor


@dataclass(frozen=True)
class PreprocessCfg:
    """As open_clip's class of this name, whose text is part of an encoder's fingerprint."""

    size: int
    mode: str = "RGB"
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)
    interpolation: str = "bicubic"
    resize_mode: str = "shortest"
    fill_color: int = 0


@dataclass(frozen=True)
class ToPixels:
    """The middle square (3, size, size) of a picture whose short side gets that size, as torchvision gives it."""

    cfg: PreprocessCfg

    def __call__(self, image: Image.Image) -> Tensor:
        size, image = self.cfg.size, middle_of_strip(image)
        short = min(image.size)
        image = image.resize(
            [size if side == short else int(size * side / short) for side in image.size], Image.BICUBIC
        )
        left, top = (round((side - size) / 2) for side in image.size)
        square = image.crop((left, top, left + size, top + size)).convert("RGB")
        pixels = torch.from_numpy(np.array(square)).permute(2, 0, 1).contiguous().float().div(255)
        mean, std = (torch.tensor(values)[:, None, None] for values in (self.cfg.mean, self.cfg.std))
        return pixels.sub_(mean).div_(std)
