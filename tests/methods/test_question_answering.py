"""How an image enters a question's prompt, and what is answered, against a plain loop."""

from dataclasses import replace

from clipknight.captioning.caption_index import CaptionIndex
from clipknight.captioning.captioner import Captioner, CaptionOptions
from clipknight.captioning.decoders import load_decoder
from clipknight.captioning.decoding import Decoder
from clipknight.captioning.knight import Knight
from clipknight.captioning.prefixes import DirectPrefix, NeighbourPrefix, PrefixCaptions
from clipknight.captioning.retriever import Retriever
from clipknight.embedding.embeddings import unit
from clipknight.methods.instruction_model import IMAGE, InstructionModel
from clipknight.methods.question_answering import Shown, answered, as_captions, as_prefix, chosen, prompts

import numpy as np
import pytest
import tiny_models
import torch
from corpora_of_texts import corpus_of

DIM, SIZE = 8, 12
QUESTIONS = ["what is it?", "is it red?", "what is it?", "which colour\n  is the square"]
CHOICES = ["red", "a blue square", "yes"]


def rows(count, seed=1):
    return unit(np.random.default_rng(seed).standard_normal((count, DIM))).astype(np.float32)


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def folder(request, tmp_path_factory):
    return tiny_models.write_language_model(tmp_path_factory.mktemp("lm") / request.param, request.param, 1, 512)


@pytest.fixture
def captioner(folder):
    """A random Knight of three neighbours among 12 captions."""
    torch.manual_seed(1)
    decoder, tokenizer = load_decoder(str(folder))
    model = Knight(decoder, DIM)
    with torch.no_grad():
        for parameter in model.mapper.parameters():
            parameter.normal_(0, 0.5)
    retriever = Retriever(corpus_of([f"Caption {i}." for i in range(SIZE)]), CaptionIndex(rows(SIZE, seed=0)))
    method = PrefixCaptions(Decoder(model, tokenizer, batch_size=2), NeighbourPrefix(retriever, 3))
    return Captioner(retriever, method, 3)


@pytest.fixture
def model(captioner):
    decoder = captioner.method.decoder
    return InstructionModel(decoder.model.decoder, decoder.tokenizer, batch_size=3)


# The image in the prompt


def test_the_image_as_captions(captioner):
    images = rows(4)
    own = captioner.caption(images, CaptionOptions(2, 6)).texts
    shown = as_captions(captioner, images, 2, CaptionOptions(2, 6))
    for image, text, said in zip(images, shown.texts, own, strict=True):
        first, second = np.argsort(-(captioner.retriever.vectors @ image))[:2]
        assert text == f"A picture: {said}\nSimilar pictures: Caption {first}; Caption {second}\n"
    assert as_captions(captioner, images, 0, CaptionOptions(2, 6)).texts == [f"A picture: {t}\n" for t in own]
    assert shown.vectors is None


@pytest.mark.parametrize("n_neighbors", [3, 0])
def test_the_image_as_prefix(captioner, n_neighbors):
    prefix, images = NeighbourPrefix(captioner.retriever, 3) if n_neighbors else DirectPrefix(), rows(5)
    captioner = replace(captioner, method=replace(captioner.method, prefix=prefix))
    shown = as_prefix(captioner, images)
    assert shown.texts == [f"{IMAGE}\n"] * 5
    for image, vectors in zip(images, shown.vectors, strict=True):
        near = np.argsort(-(captioner.retriever.vectors @ image))[:3]
        given = captioner.retriever.vectors[near] if n_neighbors else image[None]
        with torch.no_grad():
            torch.testing.assert_close(vectors, captioner.method.decoder.model.prefix(torch.from_numpy(given)[None])[0])


def test_prompts(captioner):
    assert prompts(Shown(["A picture: a dog\n", ""]), QUESTIONS[1::2]) == [
        "A picture: a dog\nQuestion: is it red? Short answer:",
        "Question: which colour is the square Short answer:",
    ]


def test_images_are_repeated_for_their_questions(captioner):
    shown = as_prefix(captioner, rows(3))
    again = shown.of([2, 0, 2])
    assert torch.equal(again.vectors, shown.vectors[[2, 0, 2]]) and len(again.texts) == 3
    assert Shown(["a", "b"]).of([1, 1]).texts == ["b", "b"]


# Answers


def test_answers_one_at_a_time_and_in_batches(captioner, model):
    for shown in (as_prefix(captioner, rows(4)), as_captions(captioner, rows(4), 2), Shown.nothing(4)):
        together = answered(model, shown, QUESTIONS, 8)
        alone = [answered(model, shown.of([i]), QUESTIONS[i : i + 1], 8)[0] for i in range(4)]
        assert together == alone and len(set(together)) > 1


def test_the_first_line_is_the_answer(model, monkeypatch):
    monkeypatch.setattr(model, "say", lambda prompts, room, vectors: ["\n  a dog \nQuestion: why?", ""])
    assert answered(model, Shown.nothing(2), QUESTIONS[:2]) == ["a dog", ""]


@pytest.mark.parametrize("calibrate", [False, True])
def test_the_likeliest_choice_against_a_loop(captioner, model, calibrate):
    shown, said = as_prefix(captioner, rows(4) * 3), []
    for i, question in enumerate(QUESTIONS):
        likely = model.log_likelihoods(prompts(shown.of([i]), [question]), CHOICES, shown.vectors[i : i + 1])[0]
        if calibrate:
            likely = likely - model.log_likelihoods(prompts(Shown.nothing(1), [question]), CHOICES)[0]
        said.append(CHOICES[int(np.argmax(likely))])
    assert chosen(model, shown, QUESTIONS, CHOICES, calibrate) == said


def test_without_an_image_calibration_leaves_the_likelihood(model):
    plain = chosen(model, Shown.nothing(4), QUESTIONS, CHOICES, calibrate=False)
    assert plain[0] == plain[2]
    assert chosen(model, Shown.nothing(4), QUESTIONS, CHOICES, calibrate=True) == plain
