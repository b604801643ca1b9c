"""CIDEr-D of sampled captions, fast enough to learn from (Vedantam et al. 2015; as COCO's evaluation computes it).

How rare an n-gram is comes from a corpus, once, not from the captions that are judged.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from clipknight.captioning.consensus import LONGEST, TOKEN
from clipknight.waiting import waiting

import numpy as np

SIGMA = 6.0  # of the Gaussian that punishes another length
END = "\n"  # said at a caption's end: CIDEr alone would have captions break off after "of a"


def words(caption: str) -> list[str]:
    """Lower-case words and the end."""
    return [*re.findall(TOKEN, caption.lower()), END]


def ngrams(caption: list[str]) -> Counter:
    """How often each n-gram of 1 to LONGEST words stands in it."""
    return Counter(tuple(caption[i : i + n]) for n in range(1, LONGEST + 1) for i in range(len(caption) - n + 1))


@dataclass(frozen=True)
class WeightedCaption:
    """A caption's n-grams by their TF-IDF weights, one table and one length for each n, and its count of bigrams."""

    tables: list[dict[tuple[str, ...], float]]
    norms: list[float]
    length: int


class CiderReward:
    """Over a corpus: `texts` (M,), of which `described` (M,) tells the image."""

    def __init__(self, texts: Sequence[str], described: np.ndarray):
        order = np.argsort(described, kind="stable")
        groups = np.split(order, np.flatnonzero(np.diff(described[order])) + 1)
        self.images = len(groups)
        self.images_with: Counter = Counter()
        with waiting(f"counting the words of {len(texts):,} captions, to reward by"):
            for group in groups:
                self.images_with.update({gram for row in group for gram in ngrams(words(texts[row]))})

    def weighted(self, caption: str) -> WeightedCaption:
        split = words(caption)
        tables: list[dict] = [{} for _ in range(LONGEST)]
        for gram, count in ngrams(split).items():
            rarity = math.log(self.images / max(1, self.images_with.get(gram, 0)))
            tables[len(gram) - 1][gram] = count * rarity
        norms = [math.sqrt(sum(weight * weight for weight in table.values())) for table in tables]
        return WeightedCaption(tables, norms, len(split) - 1)

    def score(self, caption: str, references: Sequence[WeightedCaption]) -> float:
        """Of 10, as CIDEr is usually given; the mean over the references."""
        tested = self.weighted(caption)
        return 10 * sum(_likeness(tested, reference) for reference in references) / (LONGEST * len(references))


def _likeness(tested: WeightedCaption, reference: WeightedCaption) -> float:
    """Sum over n of the cosines, in which no n-gram counts more often than the reference has it."""
    total = 0.0
    for ours, theirs, our_norm, their_norm in zip(
        tested.tables, reference.tables, tested.norms, reference.norms, strict=True
    ):
        if our_norm and their_norm:
            shared = sum(min(weight, theirs[gram]) * theirs[gram] for gram, weight in ours.items() if gram in theirs)
            total += shared / (our_norm * their_norm)
    return total * math.exp(-((tested.length - reference.length) ** 2) / (2 * SIGMA**2))
