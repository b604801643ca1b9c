"""What a decoder learns: a corpus and its vectors, captions held out to tell the loss, images to judge by."""

from dataclasses import dataclass

from clipknight.captioning.embedding_sources import EmbeddingSource, encoder_space, open_source
from clipknight.captioning.settings import DecoderTrainingSettings
from clipknight.data.datasets import Dataset
from clipknight.embedding.captioned_dataset import CaptionedDataset
from clipknight.embedding.clip import load_clip
from clipknight.embedding.corpora import Corpus, corpus_embeddings, read_corpus
from clipknight.scoring.caption_metrics import refuse_without_packages

import numpy as np

HELD_OUT = 0.01  # share of a corpus without a dataset that only tells the loss


@dataclass(frozen=True, eq=False)
class TrainingCorpus:
    """`vectors` (M, D) of `corpus` and `held_vectors` of `held_out`, unit rows in `space`.

    `valid`, the valid split where there is a dataset, is what `held_out` describes; `source` embeds its images.
    """

    corpus: Corpus
    vectors: np.ndarray
    held_out: Corpus
    held_vectors: np.ndarray
    space: list[str]
    valid: Dataset | None
    source: EmbeddingSource | None

    @classmethod
    def read(cls, s: DecoderTrainingSettings) -> "TrainingCorpus":
        """What a script's settings name. ValueError where they contradict each other."""
        _check(s)
        source = open_source(s.from_, s.device) if s.from_ else None
        space = ["target", s.target_encoder] if s.space == "target" else encoder_space(load_clip(s.space, s.device))
        if source and source.space != space:
            raise ValueError(f"--from {s.from_} gives embeddings of the space {source.space}, but --space is {space}")
        data = CaptionedDataset.of(s, text_alone=not s.from_).dataset if s.data else None
        if s.corpus:
            columns = s.columns.for_another() if s.data else s.columns
            corpus = read_corpus(s.corpus, s.corpus_separator, columns, s.seed)
        else:
            corpus = Corpus.of(data.require_captions("train"))
        corpus = corpus.share(s.corpus_share, s.seed)
        rows = corpus_embeddings(corpus, s.space, s.target_encoder, s.device)
        if data:
            valid = data.require_captions("valid")
            held_out = Corpus.of(valid)
            held_rows = corpus_embeddings(held_out, s.space, s.target_encoder, s.device)
            return cls(corpus, rows.vectors, held_out, held_rows.vectors, space, valid, source)
        # Embedded as a whole, as whoever captions with the run retrieves from it: the cache then serves both.
        parts = corpus.held_out(HELD_OUT, s.seed)
        (corpus, vectors), held = ((part, rows.aligned_to(part.caption_ids).vectors) for part in parts)
        return cls(corpus, vectors, *held, space, None, source)


def _check(s: DecoderTrainingSettings) -> None:
    if not s.data and not s.corpus:
        raise ValueError("nothing to learn from: --data DATASET, or --corpus FILE")
    if s.from_ and not s.data:
        raise ValueError(f"--from {s.from_}: of which images? name their dataset with --data")
    if s.skip_unreadable and not s.from_:
        raise ValueError("--skip_unreadable is of the images that --from embeds: without it, none is opened")
    if s.from_:
        refuse_without_packages()  # each epoch is judged by the captions' scores
