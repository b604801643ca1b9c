"""What MAGIC, ZeroCap and ETP share."""

from clipknight.captioning.captioner import CaptionOptions
from clipknight.embedding.embeddings import unit
from clipknight.methods import guided_search
from clipknight.methods.etp import PseudoTokens
from clipknight.methods.magic import MAGIC
from clipknight.methods.zerocap import ZeroCap

import numpy as np
import pytest
import torch
from blind_captioners import KINDS, blind, caption, encode, greedy, shown
from scipy.special import softmax

SMALL = {
    MAGIC: {"k": 20},
    ZeroCap: {"top_tokens": 20, "steps": 2},
    PseudoTokens: {"top_tokens": 20, "iterations": 3, "learning_rate": 0.1},
}
pytestmark = pytest.mark.parametrize("kind", KINDS)
methods = pytest.mark.parametrize("method", SMALL)


@methods
def test_batches_say_what_single_images_do(method, kind):
    captioner, images = blind(method, kind, **SMALL[method]), shown(5)
    together = caption(captioner, images, 2, 6).texts
    in_twos = blind(method, kind, batch_size=2, **SMALL[method])
    assert caption(in_twos, images, 2, 6).texts == together
    assert [caption(captioner, images[i : i + 1], 2, 6).texts[0] for i in range(5)] == together
    assert len(set(together)) > 1 and not captioner.model.training
    assert all(parameter.grad is None for parameter in captioner.model.parameters())


@methods
def test_videos(method, kind):
    captioner, videos = blind(method, kind, **SMALL[method]), shown(3, 4)
    said = caption(captioner, videos, 2, 6)
    assert len(said.texts) == 3 and said.texts[0][:1].isupper()
    alike = np.repeat(videos[:, :1], 4, axis=1)  # a video that stands still is an image
    assert caption(captioner, alike, 2, 6).texts == caption(captioner, videos[:, 0], 2, 6).texts


@methods
def test_in_reduced_precision(method, kind):
    captioner = blind(method, kind, precision=torch.bfloat16, **SMALL[method])
    assert len(caption(captioner, shown(2), 2, 6).texts) == 2


@methods
def test_lengths(method, kind):
    captioner = blind(method, kind, **SMALL[method])
    assert max(len(text.split()) for text in caption(captioner, shown(4), 2, 3).texts) == 3
    published = {MAGIC: 16, ZeroCap: 15, PseudoTokens: 20}[method]
    assert captioner.options == CaptionOptions(5, published, 1, "consensus")
    with pytest.raises(ValueError, match="exceed the decoder's 48 positions"):
        caption(captioner, shown(1), 2, 48)


# Texts and images


def test_suitability_against_a_loop(kind):
    captioner, frames = blind(MAGIC, kind), shown(2, 3)
    said, tokens = greedy(captioner, 2, 4), torch.tensor([[5, 6, captioner.end], [7, 8, 9]])
    found = captioner.suitability(frames, said, tokens, 0.1)
    for row in range(2):
        texts = [captioner.tokenizer.decode([*said[row], token], skip_special_tokens=True) for token in tokens[row]]
        cosines = frames[row] @ unit(encode(texts)).T
        np.testing.assert_allclose(found[row], softmax(cosines / 0.1, axis=1).mean(axis=0), atol=1e-6)


def test_a_text_is_encoded_once(kind, monkeypatch):
    frames, asked = shown(2, 1), []
    captioner = blind(MAGIC, kind, encode=lambda texts: (asked.append(texts), encode(texts))[1])
    said, tokens = greedy(captioner, 2, 2), torch.tensor([[1, 2, 3], [1, 2, 4]])
    first = captioner.suitability(frames, said, tokens, 0.1)
    assert [len(texts) for texts in asked] == [4]  # both images' text so far is the same
    torch.testing.assert_close(captioner.suitability(frames, said, tokens, 0.1), first)
    assert len(asked) == 1
    monkeypatch.setattr(guided_search, "REMEMBERED", 5)
    captioner.suitability(frames, said, tokens + 6, 0.1)
    assert [len(texts) for texts in asked] == [4, 4] and len(captioner._vectors) == 4
