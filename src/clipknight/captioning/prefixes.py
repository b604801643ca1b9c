"""What stands before a caption: which vectors a decoder learns it after, and which it gets for an image or a video.

Here are Knight's neighbours, the embedding itself, and the constant of a decoder that learns captions alone. DeCap's,
CLMs' and MacCap's are in `clipknight.methods`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

from clipknight.captioning.caption_batches import TokenizedCaptions
from clipknight.captioning.captioner import Captioner, CaptionOptions, ImageVectors
from clipknight.captioning.decoding import Decoder, GatheredRows
from clipknight.captioning.knight import Knight
from clipknight.captioning.retriever import Retriever
from clipknight.captioning.training_corpus import TrainingCorpus
from clipknight.embedding.embeddings import Embeddings

import numpy as np
import torch

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CaptionPair = tuple[TokenizedCaptions, TokenizedCaptions]  # to learn, and held out


class Prefix(Protocol):
    """`length` vectors before a caption; training noise falls on the first `noisy` of them, on all for None.

    `described` opens it again for a run, from the `description` that was saved with the decoder.
    """

    noisy: int | None
    length: int
    description: dict

    def captions(self, read: TrainingCorpus, tokenizer: "PreTrainedTokenizerBase", max_tokens: int) -> CaptionPair:
        """Captions with their vectors, to learn and held out."""

    def vectors(self, images: ImageVectors) -> np.ndarray | GatheredRows:
        """(N, p, D) for images or videos."""


@dataclass(frozen=True, eq=False)
class NeighbourPrefix:
    """The `n_neighbors` nearest captions; of a video, for each frame the mean of its own (Knight, eq. 3 and 8).

    In training a caption's nearest others, without those that `exclude` names, see CaptionIndex.neighbours.
    """

    retriever: Retriever
    n_neighbors: int
    exclude: str = "image"

    noisy: ClassVar[None] = None

    @classmethod
    def described(cls, retriever: Retriever, description: dict) -> "NeighbourPrefix":
        return cls(retriever, description["n_neighbors"])

    @property
    def length(self) -> int:
        return self.n_neighbors

    @property
    def description(self) -> dict:
        return {"method": "knight", "n_neighbors": self.n_neighbors}

    def captions(self, read: TrainingCorpus, tokenizer: "PreTrainedTokenizerBase", max_tokens: int) -> CaptionPair:
        index = self.retriever.index
        rows = index.neighbours(read.corpus, self.n_neighbors, self.exclude)
        _, held_rows = index.search(read.held_vectors, self.n_neighbors)
        return (
            TokenizedCaptions(read.corpus.texts, index.vectors, rows, tokenizer, max_tokens),
            TokenizedCaptions(read.held_out.texts, index.vectors, held_rows, tokenizer, max_tokens),
        )

    def vectors(self, images: ImageVectors) -> np.ndarray | GatheredRows:
        if images.are_videos:
            videos, frames, dim = images.vectors.shape
            _, rows = self.retriever.search(images.vectors.reshape(-1, dim), self.n_neighbors)
            return self.retriever.vectors[rows].mean(axis=1).reshape(videos, frames, dim)
        rows = images.neighbours
        if rows is None or rows.shape[1] < self.n_neighbors:
            _, rows = self.retriever.search(images.vectors, self.n_neighbors)
        return GatheredRows(self.retriever.vectors, rows[:, : self.n_neighbors])


@dataclass(frozen=True, eq=False)
class DirectPrefix:
    """The embedding itself, of a video each frame's: CapDec, and Knight at k = 0. In training the caption's own."""

    noisy: ClassVar[None] = None
    length: ClassVar[int] = 1
    description: ClassVar[dict] = {"method": "direct", "n_neighbors": 0}

    @classmethod
    def described(cls, retriever: Retriever, description: dict) -> "DirectPrefix":
        return cls()

    def captions(self, read: TrainingCorpus, tokenizer: "PreTrainedTokenizerBase", max_tokens: int) -> CaptionPair:
        rows, held_rows = (np.arange(len(part))[:, None] for part in (read.corpus, read.held_out))
        return (
            TokenizedCaptions(read.corpus.texts, read.vectors, rows, tokenizer, max_tokens),
            TokenizedCaptions(read.held_out.texts, read.held_vectors, held_rows, tokenizer, max_tokens),
        )

    def vectors(self, images: ImageVectors) -> np.ndarray:
        return images.vectors if images.are_videos else images.vectors[:, None]


@dataclass(frozen=True, eq=False)
class BlindPrefix:
    """One constant vector, zeros, whatever the caption: the language model that MAGIC, ZeroCap and ETP search with."""

    noisy: ClassVar[None] = None
    length: ClassVar[int] = 1
    description: ClassVar[dict] = {"method": "blind", "n_neighbors": 0}

    def captions(self, read: TrainingCorpus, tokenizer: "PreTrainedTokenizerBase", max_tokens: int) -> CaptionPair:
        zero = np.zeros((1, read.vectors.shape[1]), dtype=np.float32)
        rows, held_rows = (np.zeros((len(part), 1), dtype=np.int32) for part in (read.corpus, read.held_out))
        return (
            TokenizedCaptions(read.corpus.texts, zero, rows, tokenizer, max_tokens),
            TokenizedCaptions(read.held_out.texts, zero, held_rows, tokenizer, max_tokens),
        )


@dataclass(frozen=True, eq=False)
class PrefixCaptions:
    """The way to caption by a decoder after a prefix; candidates are beams."""

    decoder: Decoder
    prefix: Prefix

    options: ClassVar[CaptionOptions] = CaptionOptions()
    regions: ClassVar[int] = 0

    def candidates(self, images: ImageVectors, options: CaptionOptions) -> list[str]:
        prefixes = self.prefix.vectors(images)
        return self.decoder.captions(prefixes, options.num_beams, options.max_new_tokens, options.rerank)


def captions_in_training(
    images: Embeddings | None,
    captioner: Callable[[Decoder], Captioner],
    tokenizer: "PreTrainedTokenizerBase",
    precision: torch.dtype,
    options: CaptionOptions,
) -> Callable[[Knight], dict[str, str]] | None:
    """What captions `images` by a model that is still in training, by image id; None where there are no images."""
    if images is None:
        return None
    return lambda model: captioner(Decoder(model, tokenizer, precision)).captions_by_id(images, options)
