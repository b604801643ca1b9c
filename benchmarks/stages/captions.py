"""Captions: to embeddings, filtered, and written by Knight."""

import shutil
from functools import cached_property
from pathlib import Path

from clipknight.captioning.captioner import CaptionOptions
from clipknight.data.caption_filter import filter_similar
from clipknight.devices import pick_precision
from clipknight.embedding.cache import target_embeddings
from clipknight.embedding.corpora import Corpus
from clipknight.embedding.packed_corpus import read_packed_corpus
from clipknight.embedding.settings import MINILM
from clipknight.embedding.target_encoder import load_target_encoder
from clipknight.methods.registry import open_captioner
from clipknight.paths import ROOT
from clipknight.preparation import encoding_by
from clipknight.training.runs import Run
from stages.base import FAST_BACKEND, Stage
from stages.traffic import operations_of

import numpy as np
import torch
from caption_filter_speed import Settings as FilterSettings
from caption_filter_speed import make_rows, paraphrase_mining
from machine_limits import Limits

STARTER = ROOT / "input" / "models" / "starter" / "knight"
BEAMS, BATCH = 5, 64
CPU = torch.device("cpu")


class CaptionTargets(Stage):
    name, unit = f"captions of a corpus to embeddings by MiniLM (ours: {FAST_BACKEND})", "captions"
    written = "`SentenceTransformer.encode(captions)`"
    bound_by = "multiplying"

    def __init__(self, folder: Path, quick: bool):
        self.items, self.plain_items = (1024, 512) if quick else (8192, 2048)
        self.folder = folder
        captions = read_packed_corpus(STARTER / "corpus", share=1.0, seed=0)[0].captions
        self.corpus = Corpus("captions", captions.sample(self.items, random_state=0).reset_index(drop=True))

    @cached_property
    def encoder(self):
        return load_target_encoder(MINILM, "cpu")

    def plain(self) -> None:
        self.encoder.encode(list(self.corpus.texts[: self.plain_items]), show_progress_bar=False)

    def ours(self) -> None:
        with encoding_by(FAST_BACKEND):
            target_embeddings(self.encoder, self.corpus, cache=self.folder / "kept", precision="auto")
        shutil.rmtree(self.folder / "kept")  # or the next round would find them

    def least_seconds(self, limits: Limits) -> float:
        some = list(self.corpus.texts[:64])
        unpadded = operations_of(lambda: self.encoder.encode(some, batch_size=1, show_progress_bar=False))
        return self.items / len(some) * limits.seconds(unpadded, precision=pick_precision("auto", CPU))


class Captions(Stage):
    name, unit = "captions by Knight's decoder, beam 5, batches of 64", "captions"
    written = "one at a time in fp32, as published code decodes"
    bound_by = "multiplying"

    def __init__(self, folder: Path, quick: bool):
        self.items, self.plain_items = (BATCH, 4) if quick else (4 * BATCH, 16)

    @cached_property
    def captioner(self):
        return open_captioner(Run.open(STARTER))

    @cached_property
    def one_at_a_time(self):
        return open_captioner(Run.open(STARTER), precision="fp32", batch_size=1, by_transformers=True)

    @cached_property
    def queries(self) -> np.ndarray:
        """Captions of the corpus, disturbed about as far as a prediction lies from its image's captions."""
        draw, vectors = np.random.default_rng(0), self.captioner.retriever.vectors
        noise = draw.standard_normal((self.items, vectors.shape[1])).astype(np.float32) / vectors.shape[1] ** 0.5
        return vectors[draw.choice(len(vectors), self.items)] + 1.2 * noise

    def plain(self) -> None:
        self.one_at_a_time.caption(self.queries[: self.plain_items], CaptionOptions(BEAMS))

    def ours(self) -> None:
        self.captioner.caption(self.queries, CaptionOptions(BEAMS))

    def least_seconds(self, limits: Limits) -> float:
        return limits.seconds(operations_of(self.ours), precision=self.captioner.method.decoder.precision)


class CaptionFilter(Stage):
    name, unit = "the filter of near-duplicate captions", "captions"
    written = "sentence-transformers' `paraphrase_mining_embeddings`"
    bound_by = "multiplying, were none left out"

    def __init__(self, folder: Path, quick: bool):
        self.items = 5_000 if quick else 20_000
        self.vectors = make_rows(FilterSettings(rows=self.items))

    def plain(self) -> None:
        paraphrase_mining(self.vectors, FilterSettings())

    def ours(self) -> None:
        filter_similar(self.vectors, 0.85)

    def least_seconds(self, limits: Limits) -> float:
        return limits.seconds(self.items**2 * self.vectors.shape[1])  # half of all pairs
