"""Which vectors captions are learnt after, and which an image or a video is captioned after."""

from types import SimpleNamespace

from clipknight.captioning.caption_index import CaptionIndex
from clipknight.captioning.captioner import ImageVectors
from clipknight.captioning.decoders import learn_tokenizer
from clipknight.captioning.decoding import GatheredRows
from clipknight.captioning.prefixes import BlindPrefix, DirectPrefix, NeighbourPrefix
from clipknight.captioning.retriever import Retriever
from clipknight.embedding.embeddings import unit

import numpy as np
import pytest
from corpora_of_texts import corpus_of

DIM, SIZE = 8, 30


def rows(*shape, seed=1):
    return unit(np.random.default_rng(seed).standard_normal((*shape, DIM))).astype(np.float32)


@pytest.fixture(scope="module")
def read():
    """30 captions to learn and 4 held out."""
    corpus, held_out = corpus_of([f"caption {i}" for i in range(SIZE)]), corpus_of([f"held {i}" for i in range(4)])
    return SimpleNamespace(corpus=corpus, vectors=rows(SIZE), held_out=held_out, held_vectors=rows(4, seed=2))


@pytest.fixture(scope="module")
def retriever(read):
    return Retriever(read.corpus, CaptionIndex(read.vectors))


@pytest.fixture(scope="module")
def tokenizer():
    return learn_tokenizer(["a caption"], 300)


def nearest(retriever, queries, k):
    return np.argsort(-(queries @ retriever.vectors.T), axis=-1)[..., :k]


def test_neighbours(retriever, read, tokenizer):
    prefix = NeighbourPrefix(retriever, 3)
    captions, held = prefix.captions(read, tokenizer, 9)
    assert (len(captions), len(held), prefix.length, prefix.noisy) == (SIZE, 4, 3, None)
    for row in (0, 17):
        others = [r for r in nearest(retriever, read.vectors[row], SIZE) if r != row][:3]
        np.testing.assert_array_equal(captions[0, row][0], retriever.vectors[others])
    near = nearest(retriever, read.held_vectors, 3)
    np.testing.assert_array_equal(held[0, 2][0], retriever.vectors[near[2]])
    assert NeighbourPrefix.described(retriever, prefix.description).n_neighbors == 3


@pytest.mark.parametrize("found", [None, 1, 5])
def test_neighbours_of_images_whatever_was_found_before(retriever, found):
    queries = rows(4, seed=3)
    images = ImageVectors(queries, neighbours=None if found is None else nearest(retriever, queries, found))
    vectors = NeighbourPrefix(retriever, 3).vectors(images)
    np.testing.assert_array_equal(vectors, retriever.vectors[nearest(retriever, queries, 3)])
    assert isinstance(vectors, GatheredRows) and len(vectors) == 4  # of many images no more than a batch is in memory
    np.testing.assert_array_equal(vectors[1:3], np.asarray(vectors)[1:3])


def test_the_embedding_itself(retriever, read, tokenizer):
    prefix = DirectPrefix.described(retriever, {})
    captions, held = prefix.captions(read, tokenizer, 9)
    np.testing.assert_array_equal(captions[0, 5][0], read.vectors[[5]])
    np.testing.assert_array_equal(held[0, 2][0], read.held_vectors[[2]])
    images, videos = rows(4, seed=3), rows(2, 5, seed=3)
    np.testing.assert_array_equal(prefix.vectors(ImageVectors(images)), images[:, None])
    np.testing.assert_array_equal(prefix.vectors(ImageVectors(videos)), videos)
    assert prefix.length == 1 and prefix.description == {"method": "direct", "n_neighbors": 0}


def test_blind(read, tokenizer):
    for part in BlindPrefix().captions(read, tokenizer, 9):
        for row in range(len(part)):
            np.testing.assert_array_equal(part[0, row][0], np.zeros((1, DIM), np.float32))
