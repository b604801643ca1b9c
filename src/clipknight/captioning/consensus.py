"""Choice among candidate captions by consensus: the one most like what the corpus says of such images.

After Devlin et al. 2015, "Exploring Nearest Neighbor Approaches for Image Captioning": there the candidates are the
neighbours themselves. Likeness is CIDEr-D's (Vedantam et al. 2015, eq. 5) without its penalty on length: the mean over
n = 1 to 4 of the cosines of TF-IDF weighted n-gram counts, in which what a candidate repeats more often than the
neighbour does counts for nothing. Without that, "a cat on top of a cat" wins.
"""

import re
from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_array
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
from sklearn.pipeline import Pipeline, make_pipeline

LONGEST = 4  # words of an n-gram
COUNTED = 50_000  # captions that tell how rare an n-gram is
TOKEN = r"(?u)[\w']+"


class Consensus:
    """Over a corpus of `texts` (M,)."""

    def __init__(self, texts: np.ndarray):
        self.texts = texts
        counted = texts[:: max(1, len(texts) // COUNTED)]
        self.counters = [
            make_pipeline(
                CountVectorizer(ngram_range=(n, n), token_pattern=TOKEN, dtype=np.float32), TfidfTransformer()
            )
            for n in range(1, min(LONGEST, longest(counted)) + 1)
        ]
        for counter in self.counters:
            counter.fit(counted)

    def scores(self, candidates: Sequence[str], rows: np.ndarray) -> np.ndarray:
        """Mean likeness (N, C) of each of C candidates an image to the image's neighbours, `rows` (N, K) of the corpus.

        `candidates` (N·C) stand image by image.
        """
        images, k = rows.shape
        per_image = len(candidates) // images
        unique, place = np.unique(rows, return_inverse=True)
        share = np.full(rows.size, 1 / k, dtype=np.float32)
        mean = csr_array((share, place.ravel(), np.arange(images + 1) * k), shape=(images, len(unique)))
        image = np.repeat(np.arange(images), per_image)
        total = np.zeros(len(candidates))
        for counter in self.counters:
            said, times_said = weighted(counter, self.texts[unique])
            own, times = weighted(counter, candidates)
            own.data /= times  # of each occurrence
            for occurrence in range(1, times.max(initial=0) + 1):
                also = csr_array((said.data * (times_said >= occurrence), said.indices, said.indptr), said.shape)
                there = csr_array((own.data * (times >= occurrence), own.indices, own.indptr), own.shape)
                total += np.asarray(there.multiply((mean @ also)[image]).sum(axis=1)).ravel()
        return (total / len(self.counters)).reshape(images, per_image)


def weighted(counter: Pipeline, texts: Sequence[str]) -> tuple[csr_array, np.ndarray]:
    """Unit rows (N, n-grams) of `texts`, and how often each of their n-grams stands in its text, in the rows' order."""
    count, weigh = (step for _, step in counter.steps)
    counts = csr_array(count.transform(texts))
    counts.sort_indices()
    return csr_array(weigh.transform(counts)), counts.data.astype(np.int64)


def longest(texts: Sequence[str]) -> int:
    """Words of the longest caption: a vectorizer of longer n-grams would find none."""
    return max(len(re.findall(TOKEN, text)) for text in texts)
