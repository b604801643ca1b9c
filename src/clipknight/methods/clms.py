"""CLMs: nouns beside the embedding in the prefix (Wang et al. 2022, "Zero-shot Image Captioning by Anchor-augmented
Vision-Language Space Alignment").

A concept is a noun that is common in the corpus. The prefix is the caption's own embedding and a fixed number of
anchors, concepts' embeddings. In training each place holds one of the caption's nouns or, by draw and wherever it has
too few, what inference would put there: the concept nearest to the embedding. So no place is ever empty, and the
decoder learns how far anchors can be trusted. The authors train with a frozen CLIP; here any space will do.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from clipknight.captioning.caption_batches import TokenizedCaptions
from clipknight.captioning.captioner import ImageVectors
from clipknight.captioning.prefixes import CaptionPair
from clipknight.captioning.retriever import Retriever
from clipknight.captioning.training_corpus import TrainingCorpus
from clipknight.data.caption_augmentation import WORD
from clipknight.embedding.embeddings import unit
from clipknight.waiting import SHOWN_AFTER

import numpy as np
import torch
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase

TAGGED = 50_000  # captions that tell which words are nouns; the others are matched by these words
MET = 5  # times that a concept is met among them, at least
CHUNK_ROWS = 4096  # captions compared with all concepts at a time


@dataclass(frozen=True, eq=False)
class Concepts:
    """`names` (C,), the commonest first, and unit `vectors` (C, D) in the space of the corpus."""

    names: list[str]
    vectors: np.ndarray

    @classmethod
    def embedded(cls, names: Sequence[str], encode: Callable[[list[str]], np.ndarray]) -> "Concepts":
        """With the vectors of "a dog", "a ball", … by `encode`: nearer to captions than bare words are."""
        return cls(list(names), unit(encode([f"a {name}" for name in names])).astype(np.float32))

    def nearest(self, embeddings: np.ndarray, count: int) -> np.ndarray:
        """Rows (N, count) of the concepts nearest to `embeddings` (N, D), nearest first."""
        return _highest(embeddings @ self.vectors.T, count)

    def of_captions(
        self, captions: Sequence[str], vectors: np.ndarray, row_of: dict[str, int], count: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """(own, nearest) concepts of captions with `vectors` (N, D), rows (N, count) each, the nearest first.

        Own are those whose words, by `row_of`, the caption has; -1 where it has fewer.
        """
        own, near = (np.empty((len(captions), count), dtype=np.int32) for _ in range(2))
        for start in tqdm(range(0, len(captions), CHUNK_ROWS), desc="anchors", delay=SHOWN_AFTER):
            part = slice(start, start + CHUNK_ROWS)
            cosines = vectors[part] @ self.vectors.T
            named = np.zeros(cosines.shape, dtype=bool)
            for row, caption in enumerate(captions[part]):
                named[row, [row_of[word] for word in WORD.findall(caption.lower()) if word in row_of]] = True
            near[part] = _highest(cosines, count)
            own[part] = _highest(np.where(named, cosines, -np.inf), count)
            own[part][~np.take_along_axis(named, own[part], axis=1)] = -1
        return own, near


def common_nouns(captions: Sequence[str], most: int) -> tuple[list[str], dict[str, int]]:
    """Names of the `most` commonest nouns, and the number among them of every word that is a form of one.

    TextBlob's tagger reads at most TAGGED captions, evenly taken: 12 s. A word is a noun that is one more often than
    not; its forms go by LemmInflect, and the commonest names them all ("children").
    """
    from lemminflect import getLemma
    from textblob.en import tag

    met, noun = Counter(), Counter()
    sample = captions[:: -(-len(captions) // TAGGED)]
    for caption in tqdm(sample, desc="nouns", unit="caption", delay=SHOWN_AFTER):
        words = WORD.findall(caption.lower())
        for word, part in tag(" ".join(words), tokenize=False) if words else ():
            met[word] += 1
            noun[word] += part in ("NN", "NNS")
    forms = defaultdict(Counter)
    for word, count in noun.items():
        if 2 * count > met[word]:
            forms[getLemma(word, "NOUN")[0]][word] = count
    nouns = sorted((words for words in forms.values() if words.total() >= MET), key=lambda words: -words.total())[:most]
    row_of = {word: row for row, words in enumerate(nouns) for word in words}
    return [words.most_common(1)[0][0] for words in nouns], row_of


def _highest(scores: np.ndarray, count: int) -> np.ndarray:
    """Columns (N, count) of the highest `scores` (N, C), falling."""
    return torch.from_numpy(scores).topk(count).indices.numpy()


class AnchoredCaptions(TokenizedCaptions):
    """(the caption's own vector and its anchors (1 + m, D), token ids); `own` and `near` are Concepts.of_captions'.

    `replaced`: share of own concepts that give way to a near one, drawn by seed, epoch and row; 1 is as at inference.
    """

    def __init__(self, captions, vectors, concepts: Concepts, own, near, tokenizer, max_tokens, replaced, seed=0):
        super().__init__(captions, vectors, near, tokenizer, max_tokens)
        self.concepts, self.own, self.replaced, self.seed = concepts, own, replaced, seed

    def __getitem__(self, position: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        epoch, row = position
        own, near = self.own[row], self.neighbours[row]
        replaced = np.random.default_rng((self.seed, epoch, row)).random(len(own)) < self.replaced
        anchors = self.concepts.vectors[np.where(replaced | (own < 0), near, own)]
        return np.concatenate([self.vectors[row : row + 1], anchors]), self.tokens[row]


@dataclass(frozen=True, eq=False)
class AnchorPrefix:
    """The embedding and the `anchors` concepts nearest to it; of a video, the mean frame and those nearest to it.

    In training also the caption's own concepts, those that have one of its `words` (word: number of its concept), of
    which a share `dropout` gives way to near ones, drawn by `seed`. Noise is for the caption's own embedding alone: at
    inference anchors are as exact as in training.
    """

    concepts: Concepts
    anchors: int
    words: dict[str, int] = field(default_factory=dict)
    dropout: float = 0.5
    seed: int = 0

    noisy: ClassVar[int] = 1

    @classmethod
    def learned(
        cls, retriever: Retriever, anchors: int, most: int, dropout: float = 0.5, seed: int = 0
    ) -> "AnchorPrefix":
        """With the `most` commonest nouns of the corpus as concepts. ValueError where it has fewer than anchors."""
        names, words = common_nouns(retriever.corpus.texts, most)
        if len(names) < anchors:
            raise ValueError(f"{retriever.corpus.name} has {len(names)} common nouns, too few for --anchors {anchors}")
        return cls(Concepts.embedded(names, retriever.encode), anchors, words, dropout, seed)

    @classmethod
    def described(cls, retriever: Retriever, description: dict) -> "AnchorPrefix":
        return cls(Concepts.embedded(description["concepts"], retriever.encode), description["anchors"])

    @property
    def length(self) -> int:
        return 1 + self.anchors

    @property
    def description(self) -> dict:
        return {"method": "anchors", "n_neighbors": 0, "anchors": self.anchors, "concepts": self.concepts.names}

    def captions(self, read: TrainingCorpus, tokenizer: PreTrainedTokenizerBase, max_tokens: int) -> CaptionPair:
        """To learn, and held out with anchors as at inference."""

        def anchored(texts: np.ndarray, vectors: np.ndarray, replaced: float) -> AnchoredCaptions:
            own, near = self.concepts.of_captions(texts, vectors, self.words, self.anchors)
            return AnchoredCaptions(
                texts, vectors, self.concepts, own, near, tokenizer, max_tokens, replaced, self.seed
            )

        learned = anchored(read.corpus.texts, read.vectors, self.dropout)
        return learned, anchored(read.held_out.texts, read.held_vectors, 1.0)

    def vectors(self, images: ImageVectors) -> np.ndarray:
        """(N, 1 + m, D)."""
        whole = unit(images.whole)
        anchors = self.concepts.nearest(whole.astype(np.float32), self.anchors)
        return np.concatenate([whole[:, None], self.concepts.vectors[anchors]], axis=1)
