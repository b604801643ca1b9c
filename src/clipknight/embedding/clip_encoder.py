"""A CLIP as this project uses it: embeddings of images and captions, its fingerprint, its folder."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from clipknight.data.images import middle_of_strip
from clipknight.devices import PRECISIONS
from clipknight.embedding.graphs import Graph
from clipknight.embedding.image_size import resized
from clipknight.embedding.packaged_clip import PACKAGED
from clipknight.files import atomic_file

import numpy as np
import torch
from open_clip.hf_model import HFTextEncoder
from open_clip.tokenizer import HFTokenizer
from open_clip.transform import PreprocessCfg, image_transform_v2
from open_clip.transformer import VisionTransformer
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.transforms import Compose

SPARE = 3  # times what the tower sees: resized from that, a photograph's pixels have a cosine of .9999 to the whole's
SAVED = ("root", "joint", "projected", "locked_text", "activation")  # in encoder.json


@dataclass
class ClipEncoder:
    """One CLIP: `encode_pixels` and `encode_captions` give unit rows, float32.

    `joint` tells whether images and captions share a trained space, `projected` whether the image embedding passes the
    tower's projection: before adaptation `lite2-minilm` has neither, and its image embedding is the pooled features.
    """

    name: str
    root: str  # the pretrained model this one is, or was adapted from
    model: nn.Module
    preprocess_cfg: PreprocessCfg
    tokenizer: object
    joint: bool
    projected: bool
    locked_text: bool = True  # the text tower still is the root's
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    precision: torch.dtype = torch.float32
    mirrored: bool = False  # embeds each image's mirror image
    activation: str = ""  # "quick_gelu" or "gelu" where that departs from the root's config in open_clip
    backend: str = "torch"  # what embeds images; another one runs the tower's `graph`, see backends.py
    graph: Callable[[], Graph] | None = None

    def __post_init__(self):
        self.model.to(self.device, memory_format=self.memory_format).eval()
        transform = image_transform_v2(self.preprocess_cfg, is_train=False)
        cropped = self.preprocess_cfg.resize_mode == "shortest"
        self.preprocess = Compose([middle_of_strip, *transform.transforms]) if cropped else transform

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

    @property
    def captions_are_targets(self) -> bool:
        """True where the caption embedding equals the target encoder's, so that one cache serves both."""
        return self._packaged and self.locked_text

    @property
    def _packaged(self) -> bool:
        return self.root.partition("@")[0] in PACKAGED

    @property
    def _text_is_masked(self) -> bool:
        """True for a text tower of transformers: it leaves padding out, so that a batch is as long as its longest."""
        return isinstance(getattr(self.model, "text", None), HFTextEncoder)

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
        """What version 0.3.0 did otherwise with the same weights: its rows must not pass for this encoder's."""
        if tower == "visual":
            return self.activation if isinstance(self.visual, VisionTransformer) else ""
        padded = " own tokenizer" if isinstance(self.tokenizer, HFTokenizer) and not self._packaged else ""
        return padded if self._text_is_masked else self.activation + padded

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

    @torch.inference_mode()
    def encode_captions(self, captions: list[str]) -> np.ndarray:
        tokens = self.tokens(captions).to(self.device)
        return self.model.encode_text(tokens, normalize=True).float().cpu().numpy()

    def tokens(self, captions: list[str]) -> Tensor:
        """Token ids (B, L) as the model's own tokenizer has them: its cleaning, its padding, its context length."""
        tokens = self.tokenizer(captions)
        if not self._text_is_masked:
            return tokens  # many towers read a caption off the last position: padding is part of it
        written = (tokens != self.model.text.config.pad_token_id).any(dim=0)
        return tokens[:, : int(written.nonzero().max()) + 1]

    def at_size(self, size: int) -> "ClipEncoder":
        """This encoder for images of `size` pixels a side: its weights are shared, a ViT's positions resampled."""
        cfg = replace(self.preprocess_cfg, size=size if isinstance(self.preprocess_cfg.size, int) else (size, size))
        try:
            model = resized(self.model, size)
        except ValueError as error:
            raise ValueError(f"encoder {self.name!r}: {error}") from error
        names = {key: f"{without_size(getattr(self, key))[0]}@{size}" for key in ("name", "root")}
        return replace(self, **names, model=model, preprocess_cfg=cfg)

    def save(self, folder: str | Path) -> None:
        """Write `encoder.json` and the tensors that may differ from the root's: image tower, text if unlocked."""
        folder = Path(folder)
        kept = {
            name: tensor.detach().cpu().contiguous()
            for name, tensor in self.model.state_dict().items()
            if name.startswith("visual.") or name.startswith("logit") or not self.locked_text
        }
        with atomic_file(folder / "encoder.safetensors") as temporary:
            save_file(kept, temporary)
        description = {name: getattr(self, name) for name in SAVED}
        with atomic_file(folder / "encoder.json") as temporary:
            temporary.write_text(json.dumps(description, indent=1), encoding="utf-8")


def without_size(name: str) -> tuple[str, str]:
    """What is before and after the @ of an encoder's name; an @ in a folder above it is part of its path."""
    return (*name.rpartition("@")[::2],) if "@" in Path(name).name else (name, "")
