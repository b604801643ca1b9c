"""A CLIP as this project uses it: embeddings of images and captions, its fingerprint, its folder."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from clipknight.data.images import middle_of_strip
from clipknight.embedding.image_encoder import ImageEncoder
from clipknight.embedding.image_size import resized
from clipknight.embedding.packaged_clip import PACKAGED
from clipknight.files import atomic_file

import numpy as np
import torch
from open_clip.hf_model import HFTextEncoder
from open_clip.tokenizer import HFTokenizer
from open_clip.transform import image_transform_v2
from open_clip.transformer import VisionTransformer
from safetensors.torch import save_file
from torch import Tensor
from torchvision.transforms import Compose

SAVED = ("root", "joint", "projected", "locked_text", "activation")  # in encoder.json


@dataclass(kw_only=True)
class ClipEncoder(ImageEncoder):
    """One CLIP: `encode_pixels` and `encode_captions` give unit rows, float32."""

    tokenizer: object
    locked_text: bool = True  # the text tower still is the root's
    activation: str = ""  # "quick_gelu" or "gelu" where that departs from the root's config in open_clip

    def _preprocess(self) -> Callable:
        transform = image_transform_v2(self.preprocess_cfg, is_train=False)
        cropped = self.preprocess_cfg.resize_mode == "shortest"
        return Compose([middle_of_strip, *transform.transforms]) if cropped else transform

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

    def _beside_weights(self, tower: str) -> str:
        """What version 0.3.0 did otherwise with the same weights: its rows must not pass for this encoder's."""
        if tower == "visual":
            return self.activation if isinstance(self.visual, VisionTransformer) else ""
        padded = " own tokenizer" if isinstance(self.tokenizer, HFTokenizer) and not self._packaged else ""
        return padded if self._text_is_masked else self.activation + padded

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
        try:
            return self._sized(size, resized(self.model, size))
        except ValueError as error:
            raise ValueError(f"encoder {self.name!r}: {error}") from error

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
