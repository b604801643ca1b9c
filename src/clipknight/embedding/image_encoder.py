"""The image side of a CLIP: embeddings of images, and the fingerprint they are kept under.

Without captions it needs no open_clip, which takes seconds to import (lite_tower.py).
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from clipknight.devices import PRECISIONS
from clipknight.embedding.graphs import Graph
from clipknight.embedding.preprocessing import PreprocessCfg, ToPixels

import numpy as np
import torch
from torch import Tensor, nn

SPARE = 3  # times what the tower sees: resized from that, a photograph's pixels have a cosine of .9999 to the whole's


@dataclass(kw_only=True)
class ImageEncoder:
    """`encode_pixels` gives unit rows, float32, of what `preprocess` makes of pictures.

    `joint` tells whether images and captions share a trained space, `projected` whether the image embedding passes the
    tower's projection: before adaptation `lite2-minilm` has neither, and its image embedding is the pooled features.
    """

    name: str
    root: str  # the pretrained model this one is, or was adapted from
    model: nn.Module
    preprocess_cfg: PreprocessCfg  # or open_clip's own
    joint: bool
    projected: bool
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    precision: torch.dtype = torch.float32
    mirrored: bool = False  # embeds each image's mirror image
    backend: str = "torch"  # what embeds images; another one runs the tower's `graph`, see backends.py
    graph: Callable[[], Graph] | None = None

    def __post_init__(self):
        self.model.to(self.device, memory_format=self.memory_format).eval()
        self.preprocess = self._preprocess()

    def _preprocess(self) -> Callable:
        return ToPixels(self.preprocess_cfg)

    def __getstate__(self) -> dict:
        """What is pickled: all but the graph, which is made, or read, where it is used."""
        return {**self.__dict__, "graph": None}

    @property
    def visual(self) -> nn.Module:
        return self.model.visual

    @property
    def memory_format(self) -> torch.memory_format:
        """channels_last, which is faster, but where it breaks torch.

        On a CPU the backward of a strided 1×1 convolution of pixels, with which MobileCLIP begins, ends the process.
        """
        convolutions = (layer for layer in self.visual.modules() if isinstance(layer, nn.Conv2d))
        broken = any(c.in_channels <= 4 and c.kernel_size == (1, 1) and c.stride != (1, 1) for c in convolutions)
        return torch.contiguous_format if broken else torch.channels_last

    @property
    def image_size(self) -> int:
        size = self.preprocess_cfg.size
        return size if isinstance(size, int) else size[0]

    @property
    def decoded_size(self) -> int:
        """Pixels that each side of a large picture keeps at least as it is decoded, see `read_image`."""
        size = self.preprocess_cfg.size
        return SPARE * (size if isinstance(size, int) else max(size))

    def fingerprint(self, tower: str) -> str:
        """Digest of the `visual` or `text` tower's weights, the image preprocessing and the precision.

        Of images that another backend embeds than torch, its name follows.
        """
        digest = hashlib.sha256(f"{tower} {self.precision} {self.projected}".encode())
        if tower == "visual":
            digest.update(f"{self.preprocess_cfg!r}{' mirrored' * self.mirrored}".encode())
        digest.update(self._beside_weights(tower).encode())
        for name, tensor in sorted(self.model.state_dict().items()):
            if name.startswith("visual.") == (tower == "visual"):
                digest.update(name.encode())
                digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
        backend = f"-{self.backend}" if tower == "visual" and self.backend != "torch" else ""
        return digest.hexdigest()[:16] + backend

    def is_version(self, tower: str, fingerprint: str) -> bool:
        """Whether `fingerprint` is of this tower, in whatever precision: machines differ in what "auto" is."""
        if self.fingerprint(tower) == fingerprint:
            return True
        others = [replace(self, precision=getattr(torch, name)) for name in PRECISIONS.values()]
        return any(other.fingerprint(tower) == fingerprint for other in others)

    def _beside_weights(self, tower: str) -> str:
        """What else the digest is of."""
        if tower != "visual":
            raise ValueError(f"encoder {self.name!r} was loaded for images alone")
        return ""

    def features(self, pixels: Tensor) -> Tensor:
        """Image embedding (B, D) of `pixels` (B, 3, H, W), gradients kept, not unit."""
        pixels = pixels.flip(-1) if self.mirrored else pixels
        pixels = pixels.to(self.device, memory_format=self.memory_format)
        if self.projected:
            return self.model.encode_image(pixels)
        return self.visual.trunk(pixels)

    @torch.inference_mode()
    def encode_pixels(self, pixels: Tensor) -> np.ndarray:
        return nn.functional.normalize(self._features(pixels), dim=-1).cpu().numpy()

    @torch.inference_mode()
    def encode_unscaled(self, pixels: Tensor) -> np.ndarray:
        """Rows (B, D), float32, at the length that the tower gives them, which a classifier's layer needs."""
        return self._features(pixels).cpu().numpy()

    def _features(self, pixels: Tensor) -> Tensor:
        if self.graph is not None:
            pixels = pixels.flip(-1) if self.mirrored else pixels
            return torch.from_numpy(self.graph()(pixels=pixels.numpy()))
        with torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32):
            return self.features(pixels).float()

    def at_size(self, size: int) -> "ImageEncoder":
        """This encoder for images of `size` pixels a side: a convolutional tower takes any."""
        return self._sized(size, self.model)

    def _sized(self, size: int, model: nn.Module) -> "ImageEncoder":
        cfg = replace(self.preprocess_cfg, size=size if isinstance(self.preprocess_cfg.size, int) else (size, size))
        names = {key: f"{without_size(getattr(self, key))[0]}@{size}" for key in ("name", "root")}
        return replace(self, **names, model=model, preprocess_cfg=cfg)


def without_size(name: str) -> tuple[str, str]:
    """What is before and after the @ of an encoder's name; an @ in a folder above it is part of its path."""
    return (*name.rpartition("@")[::2],) if "@" in Path(name).name else (name, "")
