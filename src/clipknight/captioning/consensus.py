"""Choice among candidate captions by consensus: the one most like what the corpus says of such images.

After Devlin et al. 2015, "Exploring Nearest Neighbor Approaches for Image Captioning": there the candidates are the
neighbours themselves. Likeness is CIDEr's: the mean over n = 1 to 4 of the cosines of TF-IDF weighted n-gram counts.
"""

import re
from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_array
from sklearn.feature_extraction.text import TfidfVectorizer

LONGEST = 4  # words of an n-gram
COUNTED = 50_000  # captions that tell how rare an n-gram is
TOKEN = r"(?u)[\w']+"


class Consensus:
    """Over a corpus of `texts` (M,)."""

    def __init__(self, texts: np.ndarray):
        self.texts = texts
        counted = texts[:: max(1, len(texts) // COUNTED)]
        self.vectorizers = [
            TfidfVectorizer(ngram_range=(n, n), token_pattern=TOKEN, dtype=np.float32).fit(counted)
            for n in range(1, min(LONGEST, longest(counted)) + 1)
        ]

    def scores(self, candidates: Sequence[str], rows: np.ndarray) -> np.ndarray:
        """Mean likeness (N, C) of each of C candidates an image to the image's neighbours, `rows` (N, K) of the corpus.

        `candidates` (N·C) stand image by image.
        """
        images, k = rows.shape
        per_image = len(candidates) // images
        unique, place = np.unique(rows, return_inverse=True)
        share = np.full(rows.size, 1 / k, dtype=np.float32)
        mean = csr_array((share, place.ravel(), np.arange(images + 1) * k), shape=(images, len(unique)))
        total = np.zeros(len(candidates))
        for vectorizer in self.vectorizers:
            neighbours = mean @ vectorizer.transform(self.texts[unique])
            own = neighbours[np.repeat(np.arange(images), per_image)]
            total += np.asarray(vectorizer.transform(candidates).multiply(own).sum(axis=1)).ravel()
        return (total / len(self.vectorizers)).reshape(images, per_image)


def longest(texts: Sequence[str]) -> int:
    """Words of the longest caption: a vectorizer of longer n-grams would find none."""
    return max(len(re.findall(TOKEN, text)) for text in texts)
