import shutil

from clipknight.captioning.retriever import CorpusChoice, Retriever
from clipknight.embedding.corpora import Corpus
from clipknight.embedding.embeddings import unit
from clipknight.embedding.packed_corpus import read_packed_corpus, write_packed_corpus
from clipknight.paths import STARTER, existing
from clipknight.training.runs import Run

import numpy as np
import pandas as pd
import pytest

WALLS = ["a blue wall", "a green wall", "a white wall", "a black wall"]


def test_a_run_retrieves_from_what_it_was_taught(knight_run):
    retriever = Retriever.of_run(Run.open(knight_run), device="cpu")
    assert (len(retriever.corpus), retriever.corpus.name, retriever.dim) == (120, "coloured", 24)
    _, rows = retriever.search(retriever.vectors[[7]], 1)
    assert retriever.corpus.texts[rows[0, 0]] == retriever.corpus.texts[7]
    vectors = unit(retriever.encode(list(retriever.corpus.texts[:3])))
    np.testing.assert_allclose(vectors, retriever.vectors[:3], atol=0.02)  # a corpus is embedded in 16 bits


def test_a_corpus_that_comes_with_its_vectors_is_not_embedded(knight_run, tmp_path, monkeypatch):
    first = Retriever.of_run(Run.open(knight_run), device="cpu")
    run = Run(shutil.copytree(Run.open(knight_run).folder, tmp_path / "knight"))
    write_packed_corpus(first.corpus, first.vectors, run.folder / "corpus", bits=16)
    for name in ("read_corpus", "corpus_embeddings"):
        monkeypatch.setattr(f"clipknight.captioning.retriever.{name}", None)
    retriever = Retriever.of_run(run, device="cpu")
    assert retriever.corpus.texts.tolist() == first.corpus.texts.tolist() and retriever.corpus.name == "coloured"
    np.testing.assert_allclose(retriever.vectors, first.vectors, atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(retriever.vectors, axis=1), 1, atol=1e-6)
    part = Retriever.of_run(run, CorpusChoice(share=0.25), "cpu")
    assert part.corpus.texts.tolist() == first.corpus.share(0.25).texts.tolist() and len(part.vectors) == 30


def test_the_starter_comes_with_its_corpus():
    corpus, vectors = read_packed_corpus(existing(STARTER) / "corpus", 1.0, 0)
    assert (corpus.name, len(corpus), vectors.shape, vectors.dtype) == (
        "coco+flickr8k",
        30600,
        (30600, 384),
        np.float32,
    )
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_a_corpus_that_lacks_vectors_is_refused_with_a_remedy(tmp_path):
    captions = pd.DataFrame({name: ["a", "b"] for name in ("source", "id", "caption", "caption_id")})
    write_packed_corpus(Corpus("own", captions), np.ones((1, 4)), tmp_path / "corpus")
    with pytest.raises(ValueError, match="2 captions and vectors of the shape .1, 4.: take it again"):
        read_packed_corpus(tmp_path / "corpus", 1.0, 0)


def test_another_corpus(knight_run, tmp_path):
    (tmp_path / "own.txt").write_text("\n".join(WALLS), encoding="utf-8")
    run, own = Run.open(knight_run), [str(tmp_path / "own.txt")]
    assert Retriever.of_run(run, CorpusChoice(own), "cpu").corpus.texts.tolist() == WALLS
    assert len(Retriever.of_run(run, CorpusChoice(own, share=0.5), "cpu").corpus) == 2
    assert len(Retriever.of_run(run, CorpusChoice(share=0.25), "cpu").corpus) == 30
    (tmp_path / "own.txt").write_text(", ".join(WALLS), encoding="utf-8")
    assert Retriever.of_run(run, CorpusChoice(own, separator=", "), "cpu").corpus.texts.tolist() == WALLS
