from clipknight.captioning.decoders import load_decoder
from clipknight.captioning.decoding import Decoder, sentence
from clipknight.captioning.knight import Knight

import numpy as np
import pytest
import torch

DIM = 8


@pytest.fixture
def decoder(language_model):
    torch.manual_seed(1)
    model, tokenizer = load_decoder(str(language_model))
    return Decoder(Knight(model, DIM), tokenizer, batch_size=2)


@pytest.fixture(scope="module")
def prefixes():
    return np.random.default_rng(0).standard_normal((5, 3, DIM))


def test_as_many_captions_as_asked_the_best_beam_first(decoder, prefixes):
    three = decoder.captions(prefixes, num_beams=3, max_new_tokens=6, count=3)
    assert len(three) == 15 and three[::3] == decoder.captions(prefixes, 3, 6)
    assert decoder.captions(prefixes, 1, 6, 3) == three  # the search is as wide as captions are many


def test_mapped_in_batches_without_noise(decoder, prefixes):
    decoder.model.noise = 5.0
    decoder.model.train()
    mapped = decoder.mapped(prefixes)
    with torch.no_grad():
        torch.testing.assert_close(mapped, decoder.model.eval().prefix(torch.from_numpy(prefixes).float()))


@pytest.mark.parametrize(
    "text, line", [(" a  red\ndog ", "A red dog"), ("", ""), ("iPhone", "IPhone"), ("élan", "Élan")]
)
def test_a_sentence(text, line):
    assert sentence(text) == line
