"""The corpus in place of the image: its nearest caption as it stands, or its embeddings before the decoder."""

from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

from clipknight.captioning.captioner import CaptionOptions, ImageVectors
from clipknight.captioning.prefixes import DirectPrefix
from clipknight.captioning.retriever import Retriever
from clipknight.embedding.embeddings import unit
from clipknight.waiting import SHOWN_AFTER, progress_bar

import numpy as np
from scipy.special import softmax

ROWS = 256  # embeddings projected at a time


@dataclass(frozen=True, eq=False)
class CLIPRe:
    """Retrieval alone (the baseline of Su et al. 2022, MAGIC): candidates are the nearest captions as they stand.

    An image's consensus among them is Devlin et al. 2015. Of a video, those nearest to its mean frame.
    """

    retriever: Retriever

    options: ClassVar[CaptionOptions] = CaptionOptions()
    regions: ClassVar[int] = 0

    def candidates(self, images: ImageVectors, options: CaptionOptions) -> list[str]:
        _, rows = self.retriever.search(images.whole, options.rerank)
        return list(self.retriever.corpus.texts[rows.ravel()])


@dataclass(frozen=True, eq=False)
class ProjectionPrefix(DirectPrefix):
    """DeCap (Li et al. 2023, eq. 4-5): an image's embedding is projected onto the captions' before decoding.

    The decoder is one trained to say a caption's own embedding; the memory is the whole corpus. `temperature` of the
    softmax over cosines to the memory: the authors' value is 0.01 (they print 1/100 and 1/150).
    """

    retriever: Retriever
    _: KW_ONLY
    temperature: float = 0.01

    @classmethod
    def described(cls, retriever: Retriever, description: dict, **options) -> "ProjectionPrefix":
        return cls(retriever, **options)

    def vectors(self, images: ImageVectors) -> np.ndarray:
        """(N, m, D) for images (m = 1) or videos of m frames: softmax(cosines / temperature) · memory, at length 1."""
        flat = unit(images.vectors.reshape(-1, images.vectors.shape[-1]))
        projected = np.empty_like(flat, dtype=np.float32)
        memory = self.retriever.vectors
        for start in progress_bar(range(0, len(flat), ROWS), desc="projection", delay=SHOWN_AFTER):
            cosines = flat[start : start + ROWS] @ memory.T
            projected[start : start + ROWS] = softmax(cosines / self.temperature, axis=1) @ memory
        return unit(projected).reshape(len(images), -1, flat.shape[1])
