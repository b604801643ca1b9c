"""DeCap: the image's embedding projected onto the captions' embeddings before decoding (Li et al. 2023, eq. 4-5)."""

from dataclasses import dataclass

from clipknight.captioning.captioner import Captioner
from clipknight.embedding.embeddings import unit

import numpy as np
from scipy.special import softmax
from tqdm import tqdm

ROWS = 256  # embeddings projected at a time


@dataclass
class DeCap(Captioner):
    """The decoder is one trained to say a caption's own embedding; the memory is the whole corpus.

    `temperature` of the softmax over cosines to the memory: the authors' value is 0.01 (they print 1/100 and 1/150).
    """

    temperature: float = 0.01

    def prefix(self, embeddings: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """(N, m, D) for images (m = 1) or videos of m frames: softmax(cosines / temperature) · memory, at length 1."""
        flat = unit(embeddings.reshape(-1, embeddings.shape[-1]))
        projected = np.empty_like(flat, dtype=np.float32)
        memory = self.index.vectors
        for start in tqdm(range(0, len(flat), ROWS), desc="projection", disable=len(flat) <= ROWS):
            cosines = flat[start : start + ROWS] @ memory.T
            projected[start : start + ROWS] = softmax(cosines / self.temperature, axis=1) @ memory
        return unit(projected).reshape(len(embeddings), -1, flat.shape[1])
