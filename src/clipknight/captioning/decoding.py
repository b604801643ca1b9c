"""A decoder at work: captions after prefixes, in batches."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from clipknight.captioning.decoding_in_parts import Beams, captions_in_parts
from clipknight.captioning.knight import Knight
from clipknight.preparation import wanted_engine
from clipknight.waiting import SHOWN_AFTER, progress_bar

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, eq=False)
class GatheredRows:
    """(N, p, D): the rows of `vectors` (M, D) at `places` (N, p), each part taken as it is asked for.

    All at once they are hundreds of times as large as the places, and a decoder needs a batch at a time.
    """

    vectors: np.ndarray
    places: np.ndarray

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, part) -> np.ndarray:
        return self.vectors[self.places[part]]

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return np.asarray(self[:], dtype)


@dataclass(frozen=True)
class Decoder:
    """`model` with its tokenizer, in a `precision`, `batch_size` prefixes at a time."""

    model: Knight
    tokenizer: "PreTrainedTokenizerBase"
    precision: torch.dtype = torch.float32
    batch_size: int = 64

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def captions(
        self, prefixes: np.ndarray | GatheredRows, num_beams: int, max_new_tokens: int, count: int = 1
    ) -> list[str]:
        """`count` captions after each of `prefixes` (N, p, D): the best beams, (N·count) one after the other."""
        beams = Beams(max(num_beams, count), max_new_tokens, count)
        if wanted_engine().name != "local":
            return captions_in_parts(self, prefixes, beams)
        return self.decoded(prefixes, beams)

    def decoded(self, prefixes: np.ndarray | GatheredRows, beams: Beams) -> list[str]:
        """The same by this process."""
        options = {"num_beams": beams.num_beams, "max_new_tokens": beams.max_new_tokens}
        if beams.count > 1:
            options["num_return_sequences"] = beams.count
        texts: list[str] = []
        self.model.eval()
        with progress_bar(total=len(prefixes), desc="captions", delay=SHOWN_AFTER) as bar:
            for start in range(0, len(prefixes), self.batch_size):
                vectors = self._on_device(prefixes[start : start + self.batch_size])
                with torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32):
                    tokens = self.model.generate(vectors, self.tokenizer.eos_token_id, **options)
                texts += map(sentence, self.tokenizer.batch_decode(tokens, skip_special_tokens=True))
                bar.update(len(vectors))
        return texts

    @torch.inference_mode()
    def mapped(self, prefixes: np.ndarray) -> Tensor:
        """(N, p, width) what the language model is given for `prefixes` (N, p, D)."""
        self.model.eval()
        starts = range(0, len(prefixes), self.batch_size)
        return torch.cat([self.model.prefix(self._on_device(prefixes[i : i + self.batch_size])) for i in starts])

    def _on_device(self, prefixes: np.ndarray) -> Tensor:
        return torch.from_numpy(np.array(prefixes, dtype=np.float32)).to(self.device)


def sentence(text: str) -> str:
    """One line that starts with a capital."""
    text = " ".join(text.split())
    return text[:1].upper() + text[1:]
