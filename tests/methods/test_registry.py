"""The ways to caption besides Knight's own: which vectors the decoder gets, which captions are candidates."""

import dataclasses

from clipknight.captioning.caption_index import CaptionIndex
from clipknight.captioning.captioner import Captioner
from clipknight.embedding.corpora import Corpus
from clipknight.embedding.embeddings import unit
from clipknight.methods.clipre import CLIPRe
from clipknight.methods.decap import DeCap
from clipknight.methods.registry import METHODS, method_options, open_captioner
from clipknight.training.runs import Run

import numpy as np
import pandas as pd
import pytest

DIM, SIZE = 8, 40


def rows(*shape, seed=1):
    return unit(np.random.default_rng(seed).standard_normal((*shape, DIM))).astype(np.float32)


@pytest.fixture
def parts():
    """What every captioner has; the model is for those that decode."""
    texts = [f"a dog number {i} runs" if i % 2 else f"a cat number {i} sleeps" for i in range(SIZE)]
    ids = [f"c/{i}" for i in range(SIZE)]
    captions = pd.DataFrame({"source": "c", "id": ids, "caption": np.array(texts, dtype=object), "caption_id": ids})
    return {
        "model": None,
        "tokenizer": None,
        "corpus": Corpus("c", captions),
        "index": CaptionIndex(rows(SIZE, seed=0)),
        "n_neighbors": 3,
    }


# CLIPRe


def test_the_nearest_caption_as_it_stands(parts):
    captioner, queries, videos = CLIPRe(**parts), rows(5), rows(2, 3)
    nearest = (queries @ captioner.index.vectors.T).argmax(axis=1)
    said = captioner.caption(queries)
    assert said.texts == list(captioner.corpus.texts[nearest])
    assert said.neighbours.shape == said.similarities.shape == (5, 3)
    of_videos = (videos.mean(axis=1) @ captioner.index.vectors.T).argmax(axis=1)
    assert captioner.caption(videos).texts == list(captioner.corpus.texts[of_videos])


def test_a_consensus_among_the_nearest_captions(parts):
    parts["corpus"].captions.loc[0, "caption"] = "an odd parrot"
    texts = parts["corpus"].texts
    captioner, query = CLIPRe(**parts), rows(SIZE, seed=0)[:1]
    assert captioner.caption(query).texts == ["an odd parrot"]
    near = (query @ captioner.index.vectors.T)[0].argsort()[::-1][:4]
    chosen = captioner.caption(query, rerank=4).texts[0]
    assert chosen in texts[near] and chosen != "an odd parrot"


# DeCap


def test_projection_against_a_loop(parts):
    captioner, queries = DeCap(**parts, temperature=0.1), rows(5)
    memory = captioner.index.vectors
    prefix = captioner.prefix(queries, np.zeros((5, 1), dtype=int))
    assert prefix.shape == (5, 1, DIM)
    for query, projected in zip(queries, prefix[:, 0], strict=True):
        weights = np.array([np.exp(query @ row / 0.1) for row in memory])
        mixed = sum(weight * row for weight, row in zip(weights / weights.sum(), memory, strict=True))
        np.testing.assert_allclose(projected, mixed / np.linalg.norm(mixed), rtol=1e-4, atol=1e-6)


def test_projection_of_a_video_is_that_of_each_frame(parts):
    captioner, videos = DeCap(**parts), rows(2, 3)
    prefix = captioner.prefix(videos, np.zeros((2, 1), dtype=int))
    alone = captioner.prefix(videos.reshape(6, DIM), np.zeros((6, 1), dtype=int))
    np.testing.assert_allclose(prefix.reshape(6, DIM), alone[:, 0], rtol=1e-6)


def test_a_cold_projection_is_the_nearest_caption(parts):
    captioner = DeCap(**parts, temperature=1e-4)
    prefix = captioner.prefix(captioner.index.vectors[:4], np.zeros((4, 1), dtype=int))
    np.testing.assert_allclose(prefix[:, 0], captioner.index.vectors[:4], atol=1e-5)


# By name


@pytest.mark.parametrize("method", METHODS)
def test_a_method_is_a_captioner(method):
    captioner, decoders = METHODS[method]
    assert issubclass(captioner, Captioner) and decoders
    assert all(field.name for field in dataclasses.fields(captioner))


def test_options_of_a_method():
    assert method_options(DeCap, ["temperature=0.05"], "decap") == {"temperature": 0.05}
    assert method_options(DeCap, [], "decap") == {}


@pytest.mark.parametrize(
    "option, what",
    [
        ("beta=1", "decap has no option 'beta'; its options: temperature=0.01"),
        ("n_neighbors=1", "no option 'n_neighbors'"),
        ("temperature=warm", "'warm' is no float"),
    ],
)
def test_an_option_that_is_none(option, what):
    with pytest.raises(ValueError, match=what):
        method_options(DeCap, [option], "decap")


def test_a_method_that_the_decoder_does_not_fit(knight_run):
    with pytest.raises(ValueError, match="trained for the method knight: decap needs a run trained for direct"):
        open_captioner(Run.open(knight_run), device="cpu", method="decap")
    with pytest.raises(ValueError, match="method 'guess' is none of knight, direct, decap, "):
        open_captioner(Run.open(knight_run), device="cpu", method="guess")
