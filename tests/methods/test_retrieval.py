"""Captions from the corpus itself: the nearest as it stands, and the projection onto all of them."""

from clipknight.captioning.caption_index import CaptionIndex
from clipknight.captioning.captioner import Captioner, CaptionOptions, ImageVectors
from clipknight.captioning.retriever import Retriever
from clipknight.embedding.embeddings import unit
from clipknight.methods.retrieval import CLIPRe, ProjectionPrefix

import numpy as np
import pytest
from corpora_of_texts import corpus_of

DIM, SIZE = 8, 40


def rows(*shape, seed=1):
    return unit(np.random.default_rng(seed).standard_normal((*shape, DIM))).astype(np.float32)


@pytest.fixture
def retriever():
    texts = [f"a dog number {i} runs" if i % 2 else f"a cat number {i} sleeps" for i in range(SIZE)]
    return Retriever(corpus_of(["an odd parrot", *texts[1:]]), CaptionIndex(rows(SIZE, seed=0)))


# CLIPRe


def test_the_nearest_caption_as_it_stands(retriever):
    captioner, queries, videos = Captioner(retriever, CLIPRe(retriever), 3), rows(5), rows(2, 3)
    nearest = (queries @ retriever.vectors.T).argmax(axis=1)
    captions = captioner.caption(queries)
    assert captions.texts == list(retriever.corpus.texts[nearest])
    assert captions.neighbours.shape == captions.similarities.shape == (5, 3)
    of_videos = (videos.mean(axis=1) @ retriever.vectors.T).argmax(axis=1)
    assert captioner.caption(videos).texts == list(retriever.corpus.texts[of_videos])


def test_a_consensus_among_the_nearest_captions(retriever):
    captioner, query, texts = Captioner(retriever, CLIPRe(retriever)), rows(SIZE, seed=0)[:1], retriever.corpus.texts
    assert captioner.caption(query).texts == ["an odd parrot"]
    near = (query @ retriever.vectors.T)[0].argsort()[::-1][:4]
    (chosen,) = captioner.caption(query, CaptionOptions(rerank=4)).texts
    assert chosen in texts[near] and chosen != "an odd parrot"


# DeCap


def test_projection_against_a_loop(retriever):
    prefix, queries = ProjectionPrefix(retriever, temperature=0.1), rows(5)
    vectors = prefix.vectors(ImageVectors(queries))
    assert vectors.shape == (5, 1, DIM)
    for query, projected in zip(queries, vectors[:, 0], strict=True):
        weights = np.array([np.exp(query @ row / 0.1) for row in retriever.vectors])
        mixed = sum(weight * row for weight, row in zip(weights / weights.sum(), retriever.vectors, strict=True))
        np.testing.assert_allclose(projected, mixed / np.linalg.norm(mixed), rtol=1e-4, atol=1e-6)


def test_projection_of_a_video_is_that_of_each_frame(retriever):
    prefix, videos = ProjectionPrefix(retriever), rows(2, 3)
    alone = prefix.vectors(ImageVectors(videos.reshape(6, DIM)))
    np.testing.assert_allclose(prefix.vectors(ImageVectors(videos)).reshape(6, DIM), alone[:, 0], rtol=1e-6)


def test_a_cold_projection_is_the_nearest_caption(retriever):
    prefix = ProjectionPrefix(retriever, temperature=1e-4)
    vectors = prefix.vectors(ImageVectors(retriever.vectors[:4]))
    np.testing.assert_allclose(vectors[:, 0], retriever.vectors[:4], atol=1e-5)
