"""Which nouns are concepts, which of them a caption is learnt from, and what an image is captioned from."""

import json

import train_knight
from clipknight.captioning import training as decoder_training
from clipknight.captioning.caption_index import CaptionIndex
from clipknight.captioning.captioner import CaptionOptions, ImageVectors
from clipknight.captioning.decoders import load_decoder
from clipknight.captioning.knight import Knight
from clipknight.captioning.retriever import Retriever
from clipknight.data.datasets import read_dataset
from clipknight.embedding.embeddings import unit
from clipknight.methods import clms as anchors_module
from clipknight.methods.clms import AnchoredCaptions, AnchorPrefix, Concepts, common_nouns
from clipknight.methods.registry import open_captioner
from clipknight.scoring.caption_metrics import caption_scores
from clipknight.training.runs import Run

import numpy as np
import pytest
import tiny_models
import torch
from corpora_of_texts import corpus_of
from run_folders import assert_same_training, break_off

DIM = 8
NAMES = ["dog", "ball", "man", "tree", "boat", "hat"]
ROW_OF = {name: row for row, name in enumerate(NAMES)} | {"dogs": 0, "trees": 3}
CAPTIONS = ["A man, two dogs and a dog", "it rains", "a Boat", "trees, a hat, a ball, the man and his boat"]


def rows(*shape, seed=1):
    return unit(np.random.default_rng(seed).standard_normal((*shape, DIM))).astype(np.float32)


@pytest.fixture
def concepts():
    return Concepts(NAMES, rows(6, seed=0))


# Nouns


def test_the_commonest_nouns_by_their_commonest_form():
    texts = ["two dogs run", "children run"] * 6 + ["the child plays with a dog"] * 5 + ["a man and a parrot"] * 5
    names, row_of = common_nouns(np.array(texts, dtype=object), 10)
    assert (names[:2], set(names[2:])) == (["dogs", "children"], {"man", "parrot"})
    assert row_of["dog"] == row_of["dogs"] == 0 and row_of["child"] == row_of["children"] == 1
    assert not {"run", "two", "plays", "the"} & row_of.keys()
    names, row_of = common_nouns(np.array(texts, dtype=object), 2)
    assert names == ["dogs", "children"] and set(row_of) == {"dogs", "dog", "children", "child"}


def test_rare_nouns_and_captions_without_words():
    texts = np.array(["a red parrot"] * 5 + ["a small cat"] * 4 + ["123", ""] * 5, dtype=object)
    assert common_nouns(texts, 10) == (["parrot"], {"parrot": 0})


def test_a_word_that_is_seldom_a_noun(monkeypatch):
    def by_article(text, tokenize):
        words = text.split()
        return [(word, "NN" if before == "a" else "VB") for before, word in zip(["", *words], words)]

    monkeypatch.setattr("textblob.en.tag", by_article)
    texts = ["dogs walk"] * 8 + ["a walk"] * 6 + ["a swim"] * 6 + ["dogs swim"] * 5
    assert common_nouns(np.array(texts, dtype=object), 10) == (["swim"], {"swim": 0})


def test_a_large_corpus_is_sampled(monkeypatch):
    monkeypatch.setattr(anchors_module, "TAGGED", 10)
    texts = ["a dog", "a cat"] * 10  # every second is read
    assert common_nouns(texts, 10) == (["dog"], {"dog": 0})


# Anchors of captions


def test_a_captions_own_concepts_and_the_nearest(concepts):
    vectors = rows(4)
    own, near = concepts.of_captions(CAPTIONS, vectors, ROW_OF, 3)
    for row, said in enumerate([{0, 2}, set(), {4}, {1, 2, 3, 4, 5}]):
        order = np.argsort(-(concepts.vectors @ vectors[row]))
        assert near[row].tolist() == order[:3].tolist() == concepts.nearest(vectors[row : row + 1], 3)[0].tolist()
        expected = [concept for concept in order if concept in said][:3]
        assert own[row].tolist() == expected + [-1] * (3 - len(expected))


def test_anchors_in_chunks(concepts, monkeypatch):
    whole = concepts.of_captions(CAPTIONS, rows(4), ROW_OF, 2)
    monkeypatch.setattr(anchors_module, "CHUNK_ROWS", 3)
    for together, part in zip(whole, concepts.of_captions(CAPTIONS, rows(4), ROW_OF, 2), strict=True):
        np.testing.assert_array_equal(together, part)


def anchored(concepts, language_model, replaced, texts=CAPTIONS):
    """Captions with three anchors, and what of_captions says of them."""
    _, tokenizer = load_decoder(str(language_model))
    vectors = rows(len(texts))
    own, near = concepts.of_captions(texts, vectors, ROW_OF, 3)
    return AnchoredCaptions(texts, vectors, concepts, own, near, tokenizer, 12, replaced, seed=3), vectors, own, near


def test_own_concepts_come_first_and_near_ones_fill_up(concepts, language_model):
    captions, vectors, own, near = anchored(concepts, language_model, 0.0)
    for row in range(4):
        given, tokens = captions[0, row]
        expected = np.where(own[row] < 0, near[row], own[row])
        np.testing.assert_array_equal(given, np.vstack([vectors[row], concepts.vectors[expected]]))
        assert tokens is captions.tokens[row] and given.dtype == np.float32
    assert captions.collate([captions[0, row] for row in range(4)])[0].shape == (4, 4, DIM)


def test_all_replaced_is_as_at_inference(concepts, language_model):
    captions, vectors, _, near = anchored(concepts, language_model, 1.0)
    for row in range(4):
        np.testing.assert_array_equal(captions[2, row][0], np.vstack([vectors[row], concepts.vectors[near[row]]]))


def test_the_share_replaced_is_drawn_by_epoch(concepts, language_model):
    texts = [CAPTIONS[3]] * 1500
    captions, _, own, near = anchored(concepts, language_model, 0.3, texts)
    again = anchored(concepts, language_model, 0.3, texts)[0]
    differ = own != near
    replaced = [
        np.array([(captions[epoch, row][0][1:] != concepts.vectors[own[row]]).any(axis=1) for row in range(1500)])
        for epoch in (0, 1)
    ]
    for epoch in (0, 1):
        assert 0.25 < replaced[epoch][differ].mean() < 0.35
    assert (replaced[0] != replaced[1]).any()
    np.testing.assert_array_equal(captions[1, 7][0], again[1, 7][0])


def test_noise_on_the_captions_own_vector_alone(language_model):
    decoder, _ = load_decoder(str(language_model))
    torch.manual_seed(0)
    model = Knight(decoder, DIM, noise=2.0, noisy=1)
    vectors = torch.from_numpy(rows(5, 4))
    exact = model.eval().prefix(vectors)
    noisy = model.train().prefix(vectors)
    torch.testing.assert_close(noisy[:, 1:], exact[:, 1:])
    assert ((noisy[:, 0] - exact[:, 0]).abs().amax(dim=1) > 1e-3).all()


# Captioning


@pytest.fixture
def prefix(concepts):
    """Three anchors, as a run has saved them."""
    vector_of = {f"a {name}": vector for name, vector in zip(NAMES, concepts.vectors, strict=True)}
    retriever = Retriever(
        corpus_of(["a caption"] * 4), CaptionIndex(rows(4)), lambda texts: np.array([2 * vector_of[t] for t in texts])
    )
    return AnchorPrefix.described(retriever, {"anchors": 3, "concepts": NAMES})


def test_the_prefix_of_images(prefix, concepts):
    queries = rows(5)
    vectors = prefix.vectors(ImageVectors(3 * queries))
    nearest = np.argsort(-(queries @ concepts.vectors.T), axis=1)[:, :3]
    assert vectors.shape == (5, 4, DIM) and prefix.length == 4
    np.testing.assert_allclose(vectors[:, 0], queries, atol=1e-6)
    np.testing.assert_allclose(vectors[:, 1:], concepts.vectors[nearest], atol=1e-6)


def test_the_prefix_of_a_video_is_that_of_its_mean_frame(prefix):
    videos = rows(2, 5)
    of_means = prefix.vectors(ImageVectors(videos.mean(axis=1)))
    np.testing.assert_allclose(prefix.vectors(ImageVectors(videos)), of_means, atol=1e-6)
    assert of_means.shape == (2, 4, DIM)


# Runs


@pytest.fixture(scope="module")
def argv(knight_argv):
    """Two anchors, with everything that draws; saved every 5 steps of an epoch's 15."""

    def words(run, *more):
        return knight_argv(run, "--anchors=2", "--concepts=4", "--noise=0.2", "--dropout=0.1", "--save_every=5", *more)

    return words


@pytest.fixture(scope="module")
def unbroken(argv):
    train_knight.main(argv("anchors"))
    return Run.open("captioning/anchors")


def test_a_resumed_run_equals_an_unbroken_one(argv, unbroken, monkeypatch):
    """Broken off within its first epoch; where else, test_train_knight.py tries on the same loop."""
    words = argv("anchors-broken")
    break_off(monkeypatch, train_knight.main, words, 2)
    train_knight.main([*words, "--resume"])
    assert_same_training(Run.open("captioning/anchors-broken"), unbroken)


def test_the_concepts_are_saved_with_the_run(unbroken, monkeypatch):
    description = json.loads((unbroken.folder / "best" / "knight.json").read_text(encoding="utf-8"))
    assert description["method"] == "anchors" and description["anchors"] == 2
    assert sorted(description["concepts"]) == ["everything", "picture", "square", "wall"]
    monkeypatch.setattr(anchors_module, "common_nouns", None)  # no tagging at inference
    captioner = open_captioner(unbroken, device="cpu", precision="fp32")
    prefix = captioner.method.prefix
    assert isinstance(prefix, AnchorPrefix) and prefix.concepts.names == description["concepts"]
    said = captioner.caption(captioner.retriever.vectors[:6].reshape(2, 3, -1), CaptionOptions(2, 6))
    assert len(said.texts) == 2


@pytest.mark.slow
def test_the_score_is_that_of_the_kept_epoch(argv, image_run, coloured, monkeypatch):
    monkeypatch.setattr(decoder_training, "SCORED", ("CIDEr",))
    sure = ["--noise=0", "--dropout=0"]
    train_knight.main(argv("taught", "--epochs=12", *sure))
    train_knight.main(argv("judged", "--decoder=captioning/taught", f"--from={image_run}", "--epochs=1", *sure))
    run, valid = Run.open("captioning/judged"), read_dataset(coloured).split("valid")
    images = Run.open(image_run).predictions("valid")
    captioner = open_captioner(run, device="cpu", precision="fp32")
    said = captioner.caption(images.vectors, CaptionOptions(max_new_tokens=12)).texts
    scores = caption_scores(dict(zip(images.ids, said, strict=True)), valid.caption_lists(), ["CIDEr"])
    assert scores["CIDEr"] == pytest.approx(run.info["summary"]["CIDEr"])
    colours = list(tiny_models.COLOURS)
    assert sum(colours[i % 6] in said[i].lower() for i in range(8)) >= 6


@pytest.mark.parametrize(
    "words, message",
    [
        (["--blind"], "learns captions without a prefix: leave out --anchors"),
        (["--anchors=-1"], "--anchors -1 is not allowed: give a whole number from 0"),
        (["--anchor_dropout=1.5"], "--anchor_dropout 1.5 is not allowed: give a number from 0 to 1"),
        (["--anchors=5"], "coloured has 4 common nouns, too few for --anchors 5"),
        (["--max_tokens=126"], "a prefix of 3 vectors and 126 tokens exceed"),
    ],
)
def test_a_mistake_ends_before_a_run_is_made(argv, words, message):
    with pytest.raises(SystemExit, match=message):
        train_knight.main(argv("mistaken", *words))
    assert not Run.at("captioning/mistaken").folder.exists()
