"""A target encoder as a graph, for another backend than torch: captions by their length, in batches of equal work."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from clipknight.embedding.backends import NotAGraph, checked_graph
from clipknight.embedding.embeddings import unit
from clipknight.embedding.graphs import Graph

import numpy as np
import torch
from torch import Tensor, nn

TOKENS = 4096  # of a batch, padding included
COMPARED = ("a dog", "two children in red coats run across a wet field towards a yellow bus", "snow", "a man by a lake")


@dataclass(frozen=True, eq=False)
class SentenceGraph:
    """`model`, of sentence-transformers, tokenizes; its `graph` embeds."""

    model: object
    graph: Callable[[], Graph]

    def encode(self, captions: list[str]) -> np.ndarray:
        """Unit rows (N, D), float32, whatever the batch: padding is masked. They differ by 1e-6 at most."""
        tokens = tokens_of(self.model, captions)
        lengths = tokens["attention_mask"].sum(dim=1).numpy()
        graph, rows = self.graph(), None
        for batch in batches_of_tokens(lengths, TOKENS):
            longest = int(lengths[batch].max())
            found = graph(**{name: part[batch, :longest].numpy() for name, part in tokens.items()})
            rows = np.empty((len(captions), found.shape[1]), np.float32) if rows is None else rows
            rows[batch] = unit(found)
        return rows


def sentence_graph(model, name: str, fingerprint: str, backend: str, precision: torch.dtype) -> Graph:
    """The graph of a sentence-transformers model, kept by its fingerprint. NotAGraph for one without attention."""
    try:
        tokens = tokens_of(model, list(COMPARED))
    except KeyError as error:
        raise NotAGraph(f"{name} pads no captions, so {backend} cannot run it") from error
    axes = {key: {0: "rows", 1: "tokens"} for key in tokens}
    return checked_graph(name, fingerprint, SentenceModule(model, list(tokens)), tokens, axes, backend, precision)


def tokens_of(model, captions: list[str]) -> dict[str, Tensor]:
    """What the model reads, each (N, L): token ids, and which of them are no padding. KeyError without these."""
    tokens = model.preprocess(captions)
    tokens["attention_mask"]
    return {name: part for name, part in tokens.items() if torch.is_tensor(part) and part.ndim == 2}


def batches_of_tokens(lengths: Sequence[int], most: int) -> Iterator[np.ndarray]:
    """Rows by rising length, in batches of at most `most` tokens once padded to their longest; one row at least."""
    order = np.argsort(lengths, kind="stable")
    start = 0
    for stop in range(1, len(order) + 1):
        if stop == len(order) or (stop + 1 - start) * lengths[order[stop]] > most:
            yield order[start:stop]
            start = stop


class SentenceModule(nn.Module):
    """A sentence-transformers model of tensors called `names` -> embeddings (B, D), as the model scales them."""

    def __init__(self, model: nn.Module, names: Sequence[str]):
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *tokens: Tensor) -> Tensor:
        return self.model(dict(zip(self.names, tokens, strict=True)))["sentence_embedding"]
