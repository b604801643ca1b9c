"""MacCap (Qiu et al. 2024): vectors of an image's sub-regions, with noise, through a decoder taught on noisy captions.

In training, a caption's embedding stands several times in the prefix, with other noise each time; 32 learnt queries
gather what the copies have in common (see `captioning.query_mapper`). An image's sub-regions then take their place.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from clipknight.captioning.captioner import Captioner
from clipknight.embedding.embeddings import unit

import numpy as np

COPIES = 10  # of a caption's embedding in training
VARIANCE = 0.016  # of the noise on each number of a unit vector


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


@dataclass
class MacCap(Captioner):
    """`regions` of an image are asked for, each added to the image embedding `weight` times, at length 1 again.

    Without any, the image embedding stands `copies` times. `noise` is a variance as in training, 0 for none. Candidates
    are decodings with different noise, or beams of one where there is no noise. The noise is seeded by `seed` and the
    image's own embedding: an image is captioned alone as it is among others, at the cost of a draw for each.
    """

    regions: int = 10
    weight: float = 1.0
    noise: float = VARIANCE
    copies: int = COPIES
    seed: int = 0

    search: ClassVar[Mapping] = {"num_beams": 4, "max_new_tokens": 16, "rerank": 5, "rerank_by": "embedding"}

    def __post_init__(self):
        if self.regions < 0 or self.copies < 1 or self.noise < 0:
            raise ValueError(
                f"regions {self.regions} and noise {self.noise:g} must be 0 or more, copies {self.copies} at least 1"
            )

    def candidates(
        self, embeddings: np.ndarray, rows: np.ndarray, count: int, num_beams: int, max_new_tokens: int, **options
    ) -> list[str]:
        """`regions` among the options: unit vectors (N, n, D) of images, or (N, m, n, D) of videos of m frames."""
        vectors = self.joined(embeddings, options.pop("regions", None))
        if not self.noise:
            beams = {"num_return_sequences": count} if count > 1 else {}
            return self._decoded(vectors, max(num_beams, count), max_new_tokens, options | beams)
        said = [self._decoded(self.noised(vectors, n), num_beams, max_new_tokens, options) for n in range(count)]
        return [text for texts in zip(*said, strict=True) for text in texts]

    def prefix(self, embeddings: np.ndarray, rows: np.ndarray, regions: np.ndarray | None = None) -> np.ndarray:
        """(N, n, D) for images, (N, m·n, D) for videos: the vectors of all regions, or copies, with noise."""
        vectors = self.joined(embeddings, regions)
        return self.noised(vectors) if self.noise else vectors

    def joined(self, embeddings: np.ndarray, regions: np.ndarray | None = None) -> np.ndarray:
        """The prefix before its noise."""
        whole = unit(np.asarray(embeddings, dtype=np.float32))[..., None, :]
        if regions is None:
            vectors = np.repeat(whole, self.copies, axis=-2)
        else:
            vectors = unit(whole + np.float32(self.weight) * regions)
        return vectors.reshape(len(embeddings), -1, embeddings.shape[-1])

    def noised(self, vectors: np.ndarray, draw: int = 0) -> np.ndarray:
        """(N, n, D) with noise number `draw`."""
        signs = np.packbits(vectors[:, 0, :64] > 0, axis=1).astype(int)  # rounding leaves them alone
        noised = [noisy(own, self.noise, self.seed, draw, *key) for own, key in zip(vectors, signs, strict=True)]
        return np.stack(noised)
