"""From an embedding to a caption: its nearest captions in the corpus, and the decoder after them.

The other ways to caption (see `clipknight.methods.registry`) are a Captioner each, with another prefix or other
candidates.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

from clipknight.captioning.caption_index import CaptionIndex
from clipknight.captioning.consensus import Consensus
from clipknight.captioning.knight import Knight
from clipknight.embedding.corpora import Corpus
from clipknight.embedding.embeddings import unit

import numpy as np
import torch
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase

VOTERS = 200  # nearest captions that a consensus is of


@dataclass(frozen=True)
class Captions:
    """`texts` (N,), and why: `neighbours` (N, k) rows of the corpus and their `similarities` (N, k), cosines."""

    texts: list[str]
    neighbours: np.ndarray
    similarities: np.ndarray


@dataclass
class Captioner:
    """Knight with what it retrieves from. `n_neighbors` 0 gives the decoder the embedding itself: no retrieval.

    `encode` gives the vectors of captions in the corpus' space; reranking by embedding needs it. `description` is what
    was saved with the decoder; some ways to caption read in it. `search` is how `caption` is called where nobody says
    otherwise, and `regions` how many sub-regions of an image it wants beside the embedding: `caption(…, regions=…)`.
    """

    search: ClassVar[Mapping] = {"num_beams": 5, "max_new_tokens": 40, "rerank": 1, "rerank_by": "consensus"}
    regions = 0  # without a type, for a subclass makes it a field of its own

    model: Knight
    tokenizer: PreTrainedTokenizerBase
    corpus: Corpus
    index: CaptionIndex
    n_neighbors: int
    precision: torch.dtype = torch.float32
    batch_size: int = 64
    encode: Callable[[list[str]], np.ndarray] | None = None
    description: dict = field(default_factory=dict)

    def caption(
        self,
        embeddings: np.ndarray,
        num_beams: int = 5,
        max_new_tokens: int = 40,
        rerank: int = 1,
        rerank_by: str = "consensus",
        **options,
    ) -> Captions:
        """Captions of N images (N, D), or of N videos (N, m, D), m frames each in order; `options` are generate's.

        With `rerank`, as many candidates are compared, and said is the one most like the image's VOTERS nearest
        captions ("consensus"), or the one whose own embedding is nearest to the image's ("embedding", MacCap's way).
        A video's neighbours are those of its mean frame.
        """
        ways = {"consensus": self._by_consensus, "embedding": self._by_embedding}
        if rerank_by not in ways:
            raise ValueError(f"rerank by {rerank_by!r} is none of {', '.join(ways)}")
        embeddings = np.asarray(embeddings)
        whole = whole_embeddings(embeddings)
        similarities, rows = self.index.search(whole, max(self.n_neighbors, 1))
        texts = self.candidates(embeddings, rows, rerank, num_beams, max_new_tokens, **options)
        if rerank > 1:
            best = ways[rerank_by](texts, whole).argmax(axis=1)
            texts = [texts[i * rerank + chosen] for i, chosen in enumerate(best)]
        return Captions(texts, rows, similarities)

    def candidates(
        self, embeddings: np.ndarray, rows: np.ndarray, count: int, num_beams: int, max_new_tokens: int, **options
    ) -> list[str]:
        """`count` captions of each image or video, (N·count) one after the other; `rows` (N, k) are its neighbours."""
        if count > 1:
            options |= {"num_return_sequences": count}
        return self._decoded(self.prefix(embeddings, rows), max(num_beams, count), max_new_tokens, options)

    def prefix(self, embeddings: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """(N, p, D) vectors for the decoder: the neighbours, or a video's frames, each the mean of its own neighbours.

        Knight, eq. 3 and 8.
        """
        if not self.n_neighbors:
            return embeddings if embeddings.ndim == 3 else embeddings[:, None]
        if embeddings.ndim == 2:
            return self.index.vectors[rows]
        videos, frames, dim = embeddings.shape
        _, rows = self.index.search(embeddings.reshape(-1, dim), self.n_neighbors)
        return self.index.vectors[rows].mean(axis=1).reshape(videos, frames, dim)

    def _by_embedding(self, texts: list[str], embeddings: np.ndarray) -> np.ndarray:
        said = unit(self.encode(texts)).reshape(len(embeddings), -1, embeddings.shape[1])
        return np.einsum("nrd,nd->nr", said, unit(embeddings))

    def _by_consensus(self, texts: list[str], embeddings: np.ndarray) -> np.ndarray:
        _, rows = self.index.search(embeddings, min(VOTERS, len(self.corpus)))
        return self._consensus.scores(texts, rows)

    @cached_property
    def _consensus(self) -> Consensus:
        return Consensus(self.corpus.texts)

    def _decoded(self, prefix: np.ndarray, num_beams: int, max_new_tokens: int, options: dict) -> list[str]:
        device = next(self.model.parameters()).device
        texts: list[str] = []
        self.model.eval()
        with tqdm(total=len(prefix), desc="captions", unit="caption", disable=len(prefix) <= self.batch_size) as bar:
            for start in range(0, len(prefix), self.batch_size):
                vectors = torch.from_numpy(np.array(prefix[start : start + self.batch_size], dtype=np.float32)).to(
                    device
                )
                with torch.autocast(device.type, self.precision, enabled=self.precision != torch.float32):
                    tokens = self.model.generate(
                        vectors, self.tokenizer.eos_token_id, num_beams, max_new_tokens, **options
                    )
                texts += map(sentence, self.tokenizer.batch_decode(tokens, skip_special_tokens=True))
                bar.update(len(vectors))
        return texts


def whole_embeddings(embeddings: np.ndarray) -> np.ndarray:
    """(N, D): of images (N, D) their own, of videos (N, m, D) the mean frame's."""
    return embeddings.mean(axis=1) if embeddings.ndim == 3 else embeddings


def sentence(text: str) -> str:
    """One line that starts with a capital."""
    text = " ".join(text.split())
    return text[:1].upper() + text[1:]
