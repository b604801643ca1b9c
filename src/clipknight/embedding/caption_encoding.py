"""Captions through an encoder, so many at a time."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from clipknight.devices import pick_device
from clipknight.embedding.graphs import Graph
from clipknight.embedding.sentence_graph import SentenceGraph, sentence_graph
from clipknight.engines.workers import Place

import numpy as np
import torch

if TYPE_CHECKING:
    from clipknight.embedding.clip_encoder import ClipEncoder


class CaptionEncoder(Protocol):
    """What gives the unit rows (N, D) of captions, and can be moved to another device."""

    def __call__(self, captions: list[str]) -> np.ndarray: ...

    def on(self, device: torch.device) -> "CaptionEncoder": ...


@dataclass(frozen=True, eq=False)
class CaptionRows:
    """What computes rows of captions, `chunk` at a time, between two writes."""

    encode: CaptionEncoder
    chunk: int

    def __call__(self, captions: Sequence[str]) -> Iterator[np.ndarray]:
        for i in range(0, len(captions), self.chunk):
            yield self.encode(list(captions[i : i + self.chunk]))

    def ready(self, place: Place) -> Callable[[Sequence[str]], np.ndarray]:
        """For a worker: all rows (N, D) of a part's captions."""
        rows = replace(self, encode=self.encode.on(pick_device(place.device)))
        return lambda captions: np.concatenate(list(rows(captions)))


@dataclass(frozen=True, eq=False)
class ByClip:
    """A CLIP's own embeddings of captions."""

    encoder: "ClipEncoder"

    def __call__(self, captions: list[str]) -> np.ndarray:
        return self.encoder.encode_captions(captions)

    def on(self, device: torch.device) -> "ByClip":
        return ByClip(replace(self.encoder, device=device))


@dataclass(frozen=True, eq=False)
class BySentences:
    """A sentence-transformers `model`, in 32 bits or `reduced` to 16, sorts captions by their length into batches."""

    model: torch.nn.Module
    batch_size: int
    reduced: torch.dtype

    def __call__(self, captions: list[str]) -> np.ndarray:
        with torch.autocast(self.model.device.type, self.reduced, enabled=self.reduced != torch.float32):
            vectors = self.model.encode(
                captions, batch_size=self.batch_size, show_progress_bar=False, convert_to_tensor=True
            )
        return torch.nn.functional.normalize(vectors.float(), dim=-1).cpu().numpy()  # of 16 bits: lengths only near 1

    def on(self, device: torch.device) -> "BySentences":
        return replace(self, model=self.model.to(device))


@dataclass(frozen=True, eq=False)
class BySentenceGraph:
    """The same by another backend than torch, which runs the graph of that `fingerprint`; it computes on a CPU."""

    model: torch.nn.Module
    name: str
    fingerprint: str
    backend: str
    precision: torch.dtype

    def __call__(self, captions: list[str]) -> np.ndarray:
        return SentenceGraph(self.model, lambda: self._graph).encode(captions)

    def on(self, device: torch.device) -> "BySentenceGraph":
        return self

    @cached_property
    def _graph(self) -> Graph:
        return sentence_graph(self.model, self.name, self.fingerprint, self.backend, self.precision)
