"""What MAGIC, ZeroCap and ETP share: a language model that no image has conditioned, and texts judged by an image.

The language model is a run of `train_knight.py --blind`: its prefix is one constant vector. What steers it is the
cosine of the image's embedding and that of the text so far with each possible next token.
"""

from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from clipknight.captioning.captioner import CaptionOptions, ImageVectors
from clipknight.captioning.decoding import Decoder, sentence
from clipknight.captioning.knight import Knight
from clipknight.captioning.retriever import Retriever
from clipknight.embedding.embeddings import unit
from clipknight.waiting import progress_bar

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedTokenizerBase

REMEMBERED = 100_000  # texts whose vectors are kept: successive steps ask for many of them again


@dataclass(frozen=True, eq=False)
class GuidedSearch:
    """Candidates come from `found`, for the decoder's `batch_size` images side by side."""

    decoder: Decoder
    retriever: Retriever

    options: ClassVar[CaptionOptions] = CaptionOptions()
    regions: ClassVar[int] = 0

    def candidates(self, images: ImageVectors, options: CaptionOptions) -> list[str]:
        """`options.rerank` captions of each image or video, the best first."""
        frames = unit(images.vectors).astype(np.float32).reshape(len(images), -1, images.vectors.shape[-1])
        texts: list[str] = []
        self.model.eval()
        size = self.decoder.batch_size
        with progress_bar(total=len(frames), desc="captions", unit="caption") as bar:
            for start in range(0, len(frames), size):
                part = frames[start : start + size]
                found = self.found(part, options.rerank, options.num_beams, options.max_new_tokens)
                texts += map(sentence, found)
                bar.update(len(part))
        return texts

    @abstractmethod
    def found(self, frames: np.ndarray, count: int, num_beams: int, max_new_tokens: int) -> list[str]:
        """(N·count) texts of images or videos `frames` (N, m, D), unit rows, m = 1 for an image."""

    def check_positive(self, *names: str) -> None:
        """ValueError for an option that is not above 0."""
        for name in names:
            if getattr(self, name) <= 0:
                raise ValueError(f"{type(self).__name__}: {name} {getattr(self, name)} is not above 0")

    def check_not_negative(self, *names: str) -> None:
        """ValueError for an option below 0."""
        for name in names:
            if getattr(self, name) < 0:
                raise ValueError(f"{type(self).__name__}: {name} {getattr(self, name)} is below 0")

    @property
    def model(self) -> Knight:
        return self.decoder.model

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        return self.decoder.tokenizer

    @property
    def device(self) -> torch.device:
        return self.decoder.device

    @property
    def end(self) -> int:
        """The end token."""
        return self.tokenizer.eos_token_id

    def constant_prefix(self, count: int) -> Tensor:
        """(count, 1, width): what a decoder trained with --blind begins after."""
        zero = torch.zeros(1, 1, self.retriever.dim, device=self.device)
        return self.model.prefix(zero).expand(count, -1, -1)

    def decode(self, cache: DynamicCache | None, **inputs) -> tuple[Tensor, Tensor]:
        """(last hidden states (R, t, width), logits (R, t, V)), float32, of `inputs` after `cache`, which grows."""
        precision = self.decoder.precision
        with torch.autocast(self.device.type, precision, enabled=precision != torch.float32):
            out = self.model.decoder(
                **inputs, past_key_values=cache, use_cache=cache is not None, output_hidden_states=True
            )
        return out.hidden_states[-1].float(), out.logits.float()

    def texts(self, tokens: Tensor) -> list[str]:
        """The words of token ids (R, t), without end tokens."""
        return [text.strip() for text in self.tokenizer.batch_decode(tokens, skip_special_tokens=True)]

    def likeness(self, frames: np.ndarray, tokens: Tensor) -> Tensor:
        """Cosines (N, m, k) of frames (N, m, D) with the texts that token ids (N, k, t) stand for."""
        texts = self.texts(tokens.flatten(0, 1))
        new = [text for text in dict.fromkeys(texts) if text not in self._vectors]
        if len(self._vectors) + len(new) > REMEMBERED:
            self._vectors.clear()
            new = list(dict.fromkeys(texts))
        if new:
            self._vectors.update(zip(new, unit(self.retriever.encode(new)).astype(np.float32), strict=True))
        vectors = np.stack([self._vectors[text] for text in texts]).reshape(*tokens.shape[:2], -1)
        return torch.from_numpy(np.einsum("nmd,nkd->nmk", frames, vectors)).to(self.device)

    def suitability(self, frames: np.ndarray, text: Tensor, tokens: Tensor, temperature: float) -> Tensor:
        """(R, k), summing to 1: how much better frames (R, m, D) suit a text with one of its next tokens (R, k).

        `text` (R, t) is the text so far. Softmax over the cosines, divided by `temperature`; its mean over the frames.
        """
        before = text[:, None].expand(-1, tokens.shape[1], -1)
        cosines = self.likeness(frames, torch.cat([before, tokens[..., None]], dim=-1))
        return (cosines / temperature).softmax(dim=-1).mean(dim=1)

    @cached_property
    def _vectors(self) -> dict[str, np.ndarray]:
        return {}


def mean_frame(frames: np.ndarray) -> np.ndarray:
    """(N, 1, D): a video as one unit vector; an image stays what it is."""
    return unit(frames.mean(axis=1, keepdims=True))
