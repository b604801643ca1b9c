"""The captions that a way to caption retrieves from, and what a run's are."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from clipknight.captioning.caption_index import CaptionIndex
from clipknight.embedding.corpora import Corpus, caption_encoder, corpus_embeddings, read_corpus
from clipknight.embedding.packed_corpus import PACKED, read_packed_corpus
from clipknight.training.run_datasets import dataset_of, images_of_split
from clipknight.training.runs import Run
from clipknight.waiting import waiting

import numpy as np

if TYPE_CHECKING:
    from clipknight.captioning.consensus import Consensus


@dataclass(frozen=True)
class CorpusChoice:
    """Captions to retrieve from in place of a run's own: `sources` are read_corpus'; 0 and "" stand for the run's."""

    sources: Sequence[str] = ()
    separator: str = ""
    share: float = 0.0
    index: str = "exact"


@dataclass(frozen=True, eq=False)
class Retriever:
    """Captions of `corpus`, the search among them by `index`, and `encode`: vectors of any captions in their space."""

    corpus: Corpus
    index: CaptionIndex
    encode: Callable[[list[str]], np.ndarray] | None = None

    @classmethod
    def of_run(cls, run: Run, choice: CorpusChoice = CorpusChoice(), device: str = "auto") -> "Retriever":
        """What a run of train_knight.py or train_maccap.py retrieves from."""
        s = run.settings
        space, target_encoder = run.part(s["space"]), run.part(s["target_encoder"])
        encode = caption_encoder(space, target_encoder, device)
        if not choice.sources and (run.folder / PACKED).is_dir():
            corpus, vectors = read_packed_corpus(run.folder / PACKED, choice.share or 1.0, s["seed"])
            return cls(corpus, CaptionIndex(vectors, choice.index), encode)
        if sources := list(choice.sources) or s["corpus"]:
            columns = dataset_of(run).columns.for_another()
            corpus = read_corpus(sources, choice.separator or s["corpus_separator"], columns, s["seed"])
        else:
            corpus = Corpus.of(images_of_split(run, "train", device=device, text_alone=True))
        corpus = corpus.share(choice.share or (1.0 if choice.sources else s["corpus_share"]), s["seed"])
        rows = corpus_embeddings(corpus, space, target_encoder, device)
        return cls(corpus, CaptionIndex(rows.vectors, choice.index), encode)

    @property
    def vectors(self) -> np.ndarray:
        """(M, D) unit rows of the captions."""
        return self.index.vectors

    @property
    def dim(self) -> int:
        return self.index.vectors.shape[1]

    def search(self, embeddings: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Cosines (N, k), falling, and rows (N, k) of the captions nearest to `embeddings` (N, D)."""
        return self.index.search(embeddings, k)

    @cached_property
    def consensus(self) -> "Consensus":
        """What the captions have in common with a candidate."""
        with waiting(f"counting the words of {len(self.corpus):,} captions, to choose by"):
            from clipknight.captioning.consensus import Consensus  # takes scikit-learn, which reranking alone needs

            return Consensus(self.corpus.texts)
