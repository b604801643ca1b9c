from clipknight.captioning.retriever import CorpusChoice, Retriever
from clipknight.embedding.embeddings import unit
from clipknight.training.runs import Run

import numpy as np

WALLS = ["a blue wall", "a green wall", "a white wall", "a black wall"]


def test_a_run_retrieves_from_what_it_was_taught(knight_run):
    retriever = Retriever.of_run(Run.open(knight_run), device="cpu")
    assert (len(retriever.corpus), retriever.corpus.name, retriever.dim) == (120, "coloured", 24)
    _, rows = retriever.search(retriever.vectors[[7]], 1)
    assert retriever.corpus.texts[rows[0, 0]] == retriever.corpus.texts[7]
    vectors = unit(retriever.encode(list(retriever.corpus.texts[:3])))
    np.testing.assert_allclose(vectors, retriever.vectors[:3], atol=0.02)  # a corpus is embedded in 16 bits


def test_another_corpus(knight_run, tmp_path):
    (tmp_path / "own.txt").write_text("\n".join(WALLS), encoding="utf-8")
    run, own = Run.open(knight_run), [str(tmp_path / "own.txt")]
    assert Retriever.of_run(run, CorpusChoice(own), "cpu").corpus.texts.tolist() == WALLS
    assert len(Retriever.of_run(run, CorpusChoice(own, share=0.5), "cpu").corpus) == 2
    assert len(Retriever.of_run(run, CorpusChoice(share=0.25), "cpu").corpus) == 30
    (tmp_path / "own.txt").write_text(", ".join(WALLS), encoding="utf-8")
    assert Retriever.of_run(run, CorpusChoice(own, separator=", "), "cpu").corpus.texts.tolist() == WALLS
