"""From embeddings to captions: a way to caption finds candidates, one is kept, and shown with the nearest captions.

What a way to caption is made of are parts: a `Retriever`, a `Decoder` with what stands before its text (`prefixes`).
`clipknight.methods.registry` has the ways by name.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from clipknight.captioning.retriever import Retriever
from clipknight.embedding.embeddings import Embeddings, unit

import numpy as np

RERANK_BY = ("consensus", "embedding")
VOTERS = 200  # nearest captions that a consensus is of


@dataclass(frozen=True)
class CaptionOptions:
    """Each way to caption has its own as they were published; ValueError for a `rerank_by` that is none.

    With `rerank` above 1, as many candidates are compared, and kept is the one most like the image's nearest captions
    ("consensus"), or the one whose own embedding is nearest to the image's ("embedding", MacCap's way).
    """

    num_beams: int = 5
    max_new_tokens: int = 40
    rerank: int = 1
    rerank_by: str = "consensus"

    def __post_init__(self):
        if self.rerank_by not in RERANK_BY:
            raise ValueError(f"rerank by {self.rerank_by!r} is none of {', '.join(RERANK_BY)}")

    def but(self, **given) -> "CaptionOptions":
        """The same but for those `given`; 0 and "" are not."""
        return replace(self, **{name: value for name, value in given.items() if value})


@dataclass(frozen=True, eq=False)
class ImageVectors:
    """What is known of N images, `vectors` (N, D), or of N videos of m frames each, in order, (N, m, D).

    `regions` are the unit vectors of their sub-regions, (N, n, D) or (N, m, n, D); `neighbours` (N, k) rows of the
    captions nearest to them, where they have been looked for.
    """

    vectors: np.ndarray
    regions: np.ndarray | None = None
    neighbours: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def are_videos(self) -> bool:
        return self.vectors.ndim == 3

    @property
    def whole(self) -> np.ndarray:
        """(N, D): of images their own vectors, of videos the mean frame's."""
        return self.vectors.mean(axis=1) if self.are_videos else self.vectors


class CaptioningMethod(Protocol):
    """A way to caption. It wants `regions` sub-regions of an image beside its vector."""

    options: CaptionOptions
    regions: int

    def candidates(self, images: ImageVectors, options: CaptionOptions) -> list[str]:
        """`options.rerank` captions of each of N images or videos, one after the other, the best first."""


@dataclass(frozen=True)
class Captions:
    """`texts` (N,), and why: `neighbours` (N, k) rows of the corpus and their `similarities` (N, k), cosines."""

    texts: list[str]
    neighbours: np.ndarray
    similarities: np.ndarray


@dataclass(frozen=True, eq=False)
class Captioner:
    """`method`, and the captions that its own are explained and judged by; `n_neighbors` are shown of an image."""

    retriever: Retriever
    method: CaptioningMethod
    n_neighbors: int = 1

    def caption(
        self, embeddings: np.ndarray, options: CaptionOptions | None = None, regions: np.ndarray | None = None
    ) -> Captions:
        """Captions of N images (N, D) or videos (N, m, D), by the method's own options unless others are given.

        A video's neighbours are those of its mean frame. `regions`: see ImageVectors.
        """
        options = options or self.method.options
        whole = ImageVectors(np.asarray(embeddings)).whole
        similarities, rows = self.retriever.search(whole, self.n_neighbors)
        images = ImageVectors(np.asarray(embeddings), regions, rows)
        texts = self.method.candidates(images, options)
        if options.rerank > 1:
            best = self._likeness(texts, whole, options.rerank_by).argmax(axis=1)
            texts = [texts[i * options.rerank + place] for i, place in enumerate(best)]
        return Captions(texts, rows, similarities)

    def captions_by_id(self, images: Embeddings, options: CaptionOptions | None = None) -> dict[str, str]:
        """The caption of each image by its id."""
        captions = self.caption(images.vectors, options, images.regions)
        return dict(zip(images.ids, captions.texts, strict=True))

    def reasons(self, captions: Captions) -> Iterator[list[tuple[str, float]]]:
        """The nearest captions of each image or video, with their cosines."""
        texts = self.retriever.corpus.texts
        for rows, cosines in zip(captions.neighbours, captions.similarities, strict=True):
            yield [(texts[row], float(cosine)) for row, cosine in zip(rows, cosines, strict=True)]

    def _likeness(self, texts: list[str], embeddings: np.ndarray, rerank_by: str) -> np.ndarray:
        """(N, C) how well each of C candidates an image suits it."""
        if rerank_by == "embedding":
            vectors = unit(self.retriever.encode(texts)).reshape(len(embeddings), -1, embeddings.shape[1])
            return np.einsum("ncd,nd->nc", vectors, unit(embeddings))
        _, rows = self.retriever.search(embeddings, min(VOTERS, len(self.retriever.corpus)))
        return self.retriever.consensus.scores(texts, rows)
