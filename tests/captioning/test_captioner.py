from dataclasses import replace

from clipknight.captioning import captioner as captioner_module
from clipknight.captioning.caption_index import CaptionIndex
from clipknight.captioning.captioner import Captioner, CaptionOptions, ImageVectors
from clipknight.captioning.consensus import Consensus
from clipknight.captioning.decoders import load_decoder
from clipknight.captioning.decoding import Decoder
from clipknight.captioning.knight import Knight
from clipknight.captioning.prefixes import DirectPrefix, NeighbourPrefix, PrefixCaptions
from clipknight.captioning.retriever import Retriever
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
    retriever = Retriever(corpus_of([f"caption {i}" for i in range(SIZE)]), CaptionIndex(rows(SIZE, seed=0)), letters)
    return Captioner(retriever, PrefixCaptions(Decoder(model, tokenizer), NeighbourPrefix(retriever, 3)), 3)


def decoding(captioner, **changes):
    """The captioner with a decoder of another precision or batch size."""
    decoder = replace(captioner.method.decoder, **changes)
    return replace(captioner, method=replace(captioner.method, decoder=decoder))


def direct(captioner):
    """The captioner without neighbours in the prefix."""
    return replace(captioner, method=replace(captioner.method, prefix=DirectPrefix()), n_neighbors=1)


def all_beams(captioner, queries):
    """The five beams of each image or video."""
    return captioner.method.candidates(ImageVectors(queries), CaptionOptions(5, 8, rerank=5))


def rows(*shape, seed=1):
    return unit(np.random.default_rng(seed).standard_normal((*shape, DIM))).astype(np.float32)


@pytest.fixture
def seen(captioner, monkeypatch):
    """The vectors that the model is given."""
    model, given = captioner.method.decoder.model, []
    generate = model.generate
    monkeypatch.setattr(model, "generate", lambda v, *a, **k: (given.append(v.numpy()), generate(v, *a, **k))[1])
    return given


def nearest(captioner, queries, k):
    return np.argsort(-(queries @ captioner.retriever.vectors.T), axis=-1)[..., :k]


# Images


def test_the_prefix_is_of_the_nearest_captions(captioner, seen):
    queries = rows(5)
    said = captioner.caption(queries, CaptionOptions(num_beams=1, max_new_tokens=6))
    near = nearest(captioner, queries, 3)
    np.testing.assert_array_equal(said.neighbours, near)
    np.testing.assert_array_equal(np.concatenate(seen), captioner.retriever.vectors[near])
    np.testing.assert_allclose(
        said.similarities, np.take_along_axis(queries @ captioner.retriever.vectors.T, near, 1), atol=1e-5
    )


@pytest.mark.parametrize("num_beams", [1, 5])
def test_batches_say_what_single_images_do(captioner, seen, num_beams):
    queries = rows(7)
    captioner = decoding(captioner, batch_size=3)
    together = captioner.caption(queries, CaptionOptions(num_beams, 8)).texts
    assert [len(vectors) for vectors in seen] == [3, 3, 1]
    alone = [captioner.caption(queries[i : i + 1], CaptionOptions(num_beams, 8)).texts[0] for i in range(7)]
    assert together == alone and len(set(alone)) > 4 and not captioner.method.decoder.model.training


def test_without_neighbours_the_prefix_is_the_embedding(captioner, seen):
    captioner = direct(captioner)
    queries = rows(4)
    said = captioner.caption(queries, CaptionOptions(1, 4))
    np.testing.assert_array_equal(np.concatenate(seen), queries[:, None])
    np.testing.assert_array_equal(said.neighbours, nearest(captioner, queries, 1))


def test_in_reduced_precision(captioner):
    captioner = decoding(captioner, precision=torch.bfloat16)
    assert len(captioner.caption(rows(3), CaptionOptions(2, 5)).texts) == 3


def test_more_neighbours_than_captions(captioner):
    captioner = replace(captioner, n_neighbors=SIZE + 1)
    with pytest.raises(ValueError, match="41 neighbours asked of a corpus of 40 captions"):
        captioner.caption(rows(1))


# Videos


def test_the_prefix_of_a_video_has_the_mean_of_each_frames_neighbours(captioner, seen):
    videos = rows(3, 4)
    said = captioner.caption(videos, CaptionOptions(1, 6))
    means = captioner.retriever.vectors[nearest(captioner, videos, 3)].mean(axis=2)
    (given,) = seen
    assert given.shape == (3, 4, DIM)
    np.testing.assert_allclose(given, means, atol=1e-6)
    np.testing.assert_array_equal(said.neighbours, nearest(captioner, unit(videos.mean(axis=1)), 3))


def test_the_order_of_frames_matters(captioner, seen):
    videos = rows(6, 4)
    forward, backward = (captioner.caption(v, CaptionOptions(1, 8)).texts for v in (videos, videos[:, ::-1]))
    np.testing.assert_allclose(seen[0], seen[1][:, ::-1], atol=1e-6)
    assert all(a != b for a, b in zip(forward, backward, strict=True))


def test_videos_in_batches(captioner):
    videos = rows(5, 2)
    together = captioner.caption(videos, CaptionOptions(2, 6)).texts
    captioner = decoding(captioner, batch_size=2)
    assert captioner.caption(videos, CaptionOptions(2, 6)).texts == together


def test_a_video_without_neighbours_is_its_frames(captioner, seen):
    captioner = direct(captioner)
    videos = rows(2, 3)
    captioner.caption(videos, CaptionOptions(1, 4))
    np.testing.assert_array_equal(seen[0], videos)


# Reranking


def letters(texts):
    """Vectors that tell captions apart."""
    return np.array([[text.lower().count(letter) for letter in "abdeinrt"] for text in texts]) + 0.1


@pytest.mark.parametrize("frames", [(), (2,)])
def test_the_beam_whose_own_embedding_is_nearest(captioner, frames):
    captioner = decoding(captioner, batch_size=4)
    queries = rows(6, *frames)
    beams = all_beams(captioner, queries)
    whole = queries.mean(axis=1) if frames else queries
    likeness = (unit(letters(beams)).reshape(6, 5, DIM) * unit(whole)[:, None]).sum(axis=2)
    said = captioner.caption(queries, CaptionOptions(5, 8, rerank=5, rerank_by="embedding")).texts
    assert said == [beams[5 * i + best] for i, best in enumerate(likeness.argmax(axis=1))]
    assert said != captioner.caption(queries, CaptionOptions(5, 8)).texts == beams[::5]


def test_the_beam_most_like_the_nearest_captions(captioner, monkeypatch):
    monkeypatch.setattr(captioner_module, "VOTERS", 6)
    queries = rows(6)
    beams = all_beams(captioner, queries)
    corpus = corpus_of([beams[i * 7 % 30] for i in range(SIZE)])  # so that it has words in common with them
    captioner = replace(captioner, retriever=replace(captioner.retriever, corpus=corpus))
    near, consensus = nearest(captioner, queries, 6), Consensus(corpus.texts)
    scores = consensus.scores(beams, near)
    assert (scores.max(axis=1) > scores[:, 0]).any()
    said = captioner.caption(queries, CaptionOptions(5, 8, rerank=5)).texts
    np.testing.assert_allclose(consensus.scores(said, near)[:, 0], scores.max(axis=1), atol=1e-6)


def test_reranking_widens_the_search_and_has_two_ways(captioner):
    assert (
        captioner.caption(rows(2), CaptionOptions(1, 4, rerank=3)).texts
        == captioner.caption(rows(2), CaptionOptions(3, 4, rerank=3)).texts
    )
    with pytest.raises(ValueError, match="rerank by 'length' is none of consensus, embedding"):
        captioner.caption(rows(1), CaptionOptions(rerank=2, rerank_by="length"))


# Runs


def test_a_run_retrieves_from_its_own_corpus(knight_run, coloured):
    captioner = open_captioner(Run.open(knight_run), device="cpu", precision="fp32")
    corpus, vectors = captioner.retriever.corpus, captioner.retriever.vectors
    assert (captioner.n_neighbors, len(corpus), corpus.name) == (3, 120, "coloured")
    assert vectors.shape == (120, 24)
    red = np.flatnonzero(corpus.texts == "a red picture")[:1]
    for rerank_by in ("consensus", "embedding"):
        captions = captioner.caption(vectors[red], CaptionOptions(5, 12, 3, rerank_by))
        assert "red" in captions.texts[0].lower()
        (near,) = captioner.reasons(captions)
        assert near[0] == ("a red picture", pytest.approx(1, abs=0.01)) and len(near) == 3
