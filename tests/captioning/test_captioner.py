from clipknight.captioning import captioner as captioner_module
from clipknight.captioning.caption_index import CaptionIndex
from clipknight.captioning.captioner import Captioner, sentence
from clipknight.captioning.consensus import Consensus
from clipknight.captioning.decoders import load_decoder
from clipknight.captioning.knight import Knight
from clipknight.embedding.embeddings import unit
from clipknight.methods.registry import open_captioner
from clipknight.training.runs import Run

import numpy as np
import pytest
import torch
from corpora_of_texts import corpus_of

DIM, SIZE = 8, 40


@pytest.fixture
def captioner(language_model):
    """A random Knight of three neighbours among 40 captions."""
    torch.manual_seed(1)
    decoder, tokenizer = load_decoder(str(language_model))
    model = Knight(decoder, DIM)
    with torch.no_grad():
        for parameter in model.mapper.parameters():
            parameter.normal_(0, 0.5)
    corpus = corpus_of([f"caption {i}" for i in range(SIZE)])
    return Captioner(model, tokenizer, corpus, CaptionIndex(rows(SIZE, seed=0)), n_neighbors=3)


def rows(*shape, seed=1):
    return unit(np.random.default_rng(seed).standard_normal((*shape, DIM))).astype(np.float32)


@pytest.fixture
def seen(captioner, monkeypatch):
    """The vectors that the model is given."""
    given, generate = [], captioner.model.generate
    monkeypatch.setattr(
        captioner.model, "generate", lambda v, *a, **k: (given.append(v.numpy()), generate(v, *a, **k))[1]
    )
    return given


def nearest(captioner, queries, k):
    return np.argsort(-(queries @ captioner.index.vectors.T), axis=-1)[..., :k]


# Images


def test_the_prefix_is_of_the_nearest_captions(captioner, seen):
    queries = rows(5)
    said = captioner.caption(queries, num_beams=1, max_new_tokens=6)
    near = nearest(captioner, queries, 3)
    np.testing.assert_array_equal(said.neighbours, near)
    np.testing.assert_array_equal(np.concatenate(seen), captioner.index.vectors[near])
    np.testing.assert_allclose(
        said.similarities, np.take_along_axis(queries @ captioner.index.vectors.T, near, 1), atol=1e-5
    )


@pytest.mark.parametrize("num_beams", [1, 5])
def test_batches_say_what_single_images_do(captioner, seen, num_beams):
    queries = rows(7)
    captioner.batch_size = 3
    together = captioner.caption(queries, num_beams, 8).texts
    assert [len(vectors) for vectors in seen] == [3, 3, 1]
    alone = [captioner.caption(queries[i : i + 1], num_beams, 8).texts[0] for i in range(7)]
    assert together == alone and len(set(alone)) > 4 and not captioner.model.training


def test_without_neighbours_the_prefix_is_the_embedding(captioner, seen):
    captioner.n_neighbors = 0
    queries = rows(4)
    said = captioner.caption(queries, 1, 4)
    np.testing.assert_array_equal(np.concatenate(seen), queries[:, None])
    np.testing.assert_array_equal(said.neighbours, nearest(captioner, queries, 1))


def test_in_reduced_precision(captioner):
    captioner.precision = torch.bfloat16
    assert len(captioner.caption(rows(3), 2, 5).texts) == 3


def test_more_neighbours_than_captions(captioner):
    captioner.n_neighbors = SIZE + 1
    with pytest.raises(ValueError, match="41 neighbours asked of a corpus of 40 captions"):
        captioner.caption(rows(1))


# Videos


def test_the_prefix_of_a_video_has_the_mean_of_each_frames_neighbours(captioner, seen):
    videos = rows(3, 4)
    said = captioner.caption(videos, 1, 6)
    means = captioner.index.vectors[nearest(captioner, videos, 3)].mean(axis=2)
    (given,) = seen
    assert given.shape == (3, 4, DIM)
    np.testing.assert_allclose(given, means, atol=1e-6)
    np.testing.assert_array_equal(said.neighbours, nearest(captioner, unit(videos.mean(axis=1)), 3))


def test_the_order_of_frames_matters(captioner, seen):
    videos = rows(6, 4)
    forward, backward = (captioner.caption(v, 1, 8).texts for v in (videos, videos[:, ::-1]))
    np.testing.assert_allclose(seen[0], seen[1][:, ::-1], atol=1e-6)
    assert all(a != b for a, b in zip(forward, backward, strict=True))


def test_videos_in_batches(captioner):
    videos = rows(5, 2)
    together = captioner.caption(videos, 2, 6).texts
    captioner.batch_size = 2
    assert captioner.caption(videos, 2, 6).texts == together


def test_a_video_without_neighbours_is_its_frames(captioner, seen):
    captioner.n_neighbors = 0
    videos = rows(2, 3)
    captioner.caption(videos, 1, 4)
    np.testing.assert_array_equal(seen[0], videos)


# Reranking


def letters(texts):
    """Vectors that tell captions apart."""
    return np.array([[text.lower().count(letter) for letter in "abdeinrt"] for text in texts]) + 0.1


@pytest.mark.parametrize("frames", [(), (2,)])
def test_the_beam_whose_own_embedding_is_nearest(captioner, frames):
    captioner.encode, captioner.batch_size = letters, 4
    queries = rows(6, *frames)
    beams = captioner.caption(queries, 5, 8, num_return_sequences=5).texts
    whole = queries.mean(axis=1) if frames else queries
    likeness = (unit(letters(beams)).reshape(6, 5, DIM) * unit(whole)[:, None]).sum(axis=2)
    said = captioner.caption(queries, 5, 8, rerank=5, rerank_by="embedding").texts
    assert said == [beams[5 * i + best] for i, best in enumerate(likeness.argmax(axis=1))]
    assert said != captioner.caption(queries, 5, 8).texts == beams[::5]


def test_the_beam_most_like_the_nearest_captions(captioner, monkeypatch):
    monkeypatch.setattr(captioner_module, "VOTERS", 6)
    captioner.batch_size, queries = 4, rows(6)
    beams = captioner.caption(queries, 5, 8, num_return_sequences=5).texts
    captioner.corpus = corpus_of([beams[i * 7 % 30] for i in range(SIZE)])  # so that it has words in common with them
    near, consensus = nearest(captioner, queries, 6), Consensus(captioner.corpus.texts)
    scores = consensus.scores(beams, near)
    assert (scores.max(axis=1) > scores[:, 0]).any()
    said = captioner.caption(queries, 5, 8, rerank=5).texts
    np.testing.assert_allclose(consensus.scores(said, near)[:, 0], scores.max(axis=1), atol=1e-6)


def test_reranking_widens_the_search_and_has_two_ways(captioner):
    assert captioner.caption(rows(2), 1, 4, rerank=3).texts == captioner.caption(rows(2), 3, 4, rerank=3).texts
    with pytest.raises(ValueError, match="rerank by 'length' is none of consensus, embedding"):
        captioner.caption(rows(1), rerank=2, rerank_by="length")


# Words


@pytest.mark.parametrize(
    "text, line", [(" a  red\ndog ", "A red dog"), ("", ""), ("iPhone", "IPhone"), ("élan", "Élan")]
)
def test_a_sentence(text, line):
    assert sentence(text) == line


# Runs


def test_a_run_retrieves_from_its_own_corpus(knight_run, coloured):
    captioner = open_captioner(Run.open(knight_run), device="cpu", precision="fp32")
    assert (captioner.n_neighbors, len(captioner.corpus), captioner.corpus.name) == (3, 120, "coloured")
    assert captioner.index.vectors.shape == (120, 24)
    red = np.flatnonzero(captioner.corpus.texts == "a red picture")[:1]
    for rerank_by in ("consensus", "embedding"):
        said = captioner.caption(captioner.index.vectors[red], 5, 12, rerank=3, rerank_by=rerank_by).texts
        assert "red" in said[0].lower()


def test_a_run_retrieves_from_another_corpus(knight_run, tmp_path):
    (tmp_path / "own.txt").write_text("a blue wall\na green wall\na white wall\na black wall\n", encoding="utf-8")
    run = Run.open(knight_run)
    captioner = open_captioner(run, [str(tmp_path / "own.txt")], device="cpu")
    assert captioner.corpus.texts.tolist() == ["a blue wall", "a green wall", "a white wall", "a black wall"]
    assert len(open_captioner(run, [str(tmp_path / "own.txt")], 0.5, device="cpu").corpus) == 2
    assert len(open_captioner(run, corpus_share=0.25, device="cpu").corpus) == 30
