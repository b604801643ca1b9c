"""MacCap (Qiu et al. 2024): vectors of an image's sub-regions, with noise, through a decoder taught on noisy captions.

In training, a caption's embedding stands several times in the prefix, with other noise each time; 32 learnt queries
gather what the copies have in common (see `captioning.mappers`). An image's sub-regions then take their place.
"""

from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, ClassVar

from clipknight.captioning.caption_batches import TokenizedCaptions
from clipknight.captioning.captioner import CaptionOptions, ImageVectors
from clipknight.captioning.decoding import Decoder
from clipknight.captioning.prefixes import CaptionPair
from clipknight.captioning.retriever import Retriever
from clipknight.captioning.training_corpus import TrainingCorpus
from clipknight.embedding.embeddings import unit
from clipknight.methods.settings import BEAMS, COPIES, NEW_TOKENS, VARIANCE

import numpy as np

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def noisy(vectors: np.ndarray, variance: float, *seed: int) -> np.ndarray:
    """Unit rows (n, D) plus N(0, variance) on each number, at length 1 again; drawn by `seed` alone."""
    noise = np.random.default_rng(seed).standard_normal(vectors.shape, dtype=np.float32)
    return unit(vectors + np.float32(variance**0.5) * noise)


@dataclass(frozen=True, eq=False)
class NoisyRows:
    """Rows of `vectors` (M, D) which, when asked for, come with noise: the same each time."""

    vectors: np.ndarray
    variance: float
    seed: int

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        return noisy(self.vectors[rows], self.variance, self.seed, *rows)


@dataclass(frozen=True, eq=False)
class SubRegionPrefix:
    """`regions` of an image are asked for, each added to the image embedding `weight` times, at length 1 again.

    Without any, the image embedding stands `copies` times, as a caption's does in training. `noise` is a variance as in
    training, 0 for none. It is seeded by `seed` and the image's own embedding: an image is captioned alone as it is
    among others, at the cost of a draw for each.
    """

    _: KW_ONLY
    regions: int = 10
    weight: float = 1.0
    noise: float = VARIANCE
    copies: int = COPIES
    seed: int = 0

    noisy: ClassVar[None] = None

    def __post_init__(self):
        if self.regions < 0 or self.copies < 1 or self.noise < 0:
            raise ValueError(
                f"regions {self.regions} and noise {self.noise:g} must be 0 or more, copies {self.copies} at least 1"
            )

    @classmethod
    def described(cls, retriever: Retriever, description: dict, **options) -> "SubRegionPrefix":
        return cls(**{**description.get("options", {}), **options})

    @property
    def description(self) -> dict:
        options = {name: getattr(self, name) for name in ("regions", "weight", "noise", "copies")}
        return {"method": "maccap", "n_neighbors": 0, "options": options}

    def captions(
        self, read: TrainingCorpus, tokenizer: "PreTrainedTokenizerBase", max_tokens: int, variance: float, seed: int
    ) -> CaptionPair:
        """Copies of each caption's embedding: to learn without noise, which the model adds, and held out with it."""
        rows, held_rows = (
            np.arange(len(part))[:, None].repeat(self.copies, axis=1) for part in (read.corpus, read.held_out)
        )
        held_vectors = NoisyRows(read.held_vectors, variance, seed) if variance else read.held_vectors
        return (
            TokenizedCaptions(read.corpus.texts, read.vectors, rows, tokenizer, max_tokens),
            TokenizedCaptions(read.held_out.texts, held_vectors, held_rows, tokenizer, max_tokens),
        )

    def vectors(self, images: ImageVectors, draw: int = 0) -> np.ndarray:
        """(N, n, D) for images, (N, m·n, D) for videos: all regions, or copies, with noise number `draw`."""
        joined = self.joined(images)
        if not self.noise:
            return joined
        signs = np.packbits(joined[:, 0, :64] > 0, axis=1).astype(int)  # rounding leaves them alone
        noised = [noisy(own, self.noise, self.seed, draw, *key) for own, key in zip(joined, signs, strict=True)]
        return np.stack(noised)

    def joined(self, images: ImageVectors) -> np.ndarray:
        """The vectors before their noise."""
        whole = unit(np.asarray(images.vectors, dtype=np.float32))[..., None, :]
        if images.regions is None:
            vectors = np.repeat(whole, self.copies, axis=-2)
        else:
            vectors = unit(whole + np.float32(self.weight) * images.regions)
        return vectors.reshape(len(images), -1, images.vectors.shape[-1])


@dataclass(frozen=True, eq=False)
class MacCap:
    """A decoder after sub-regions. Candidates are decodings with different noise, or beams of one without noise."""

    decoder: Decoder
    prefix: SubRegionPrefix

    options: ClassVar[CaptionOptions] = CaptionOptions(BEAMS, NEW_TOKENS, 5, "embedding")

    @property
    def regions(self) -> int:
        return self.prefix.regions

    def candidates(self, images: ImageVectors, options: CaptionOptions) -> list[str]:
        search = options.num_beams, options.max_new_tokens
        if not self.prefix.noise:
            return self.decoder.captions(self.prefix.vectors(images), *search, options.rerank)
        draws = [self.decoder.captions(self.prefix.vectors(images, draw), *search) for draw in range(options.rerank)]
        return [text for texts in zip(*draws, strict=True) for text in texts]
