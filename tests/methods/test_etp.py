from clipknight.embedding.embeddings import unit
from clipknight.methods.etp import PseudoTokens

import numpy as np
import pytest
import torch
from blind_captioners import DIM, KINDS, blind, candidates, caption, encode, mean_likeness, of_words, shown, whole
from scipy.special import softmax

pytestmark = pytest.mark.parametrize("kind", KINDS)
STRONG = {"iterations": 12, "learning_rate": 0.3, "top_tokens": 99, "top_k": 1}


def after_copies(captioner, copies, tokens):
    """Logits (t + 1, V) of `tokens` (t) after the prefix and `copies` of it, all at the first position."""
    prefix = captioner.model.prefix(torch.zeros(1, copies + 1, DIM))
    words = captioner.model.decoder.get_input_embeddings()(torch.tensor([tokens], dtype=torch.long))
    given = torch.cat([prefix, words], dim=1)
    places = torch.tensor([[0] * copies + list(range(len(tokens) + 1))])
    ones = torch.ones(given.shape[:2], dtype=torch.long)
    with torch.no_grad():
        out = captioner.model.decoder(inputs_embeds=given, position_ids=places, attention_mask=ones)
    return out.logits[0, copies:]


def drawn(logits, top_k, uniform):
    """The token at `uniform` of the way through the likeliest ones."""
    values, tokens = logits.topk(top_k)
    reached = values.softmax(dim=-1).cumsum(dim=-1).tolist()
    return next((int(token) for token, share in zip(tokens, reached) if uniform < share), int(tokens[-1]))


@pytest.mark.parametrize("copies", [1, 4])
def test_unlearnt_pseudo_tokens_are_copies_of_the_prefix(kind, copies):
    captioner = blind(PseudoTokens, kind, iterations=1, pseudo_tokens=copies, seed=5)
    draws = torch.rand(1, 8, generator=torch.Generator().manual_seed(5))[0].tolist()
    expected = []
    for uniform in draws:
        expected.append(drawn(after_copies(captioner, copies, expected)[-1], 3, uniform))
        if expected[-1] == captioner.end:
            break
    assert captioner.found(shown(2, 1), 1, 1, 8) == captioner.texts([expected]) * 2


@pytest.mark.parametrize("frames", [1, 3])
def test_the_gradient_is_that_of_the_sum_over_tokens(kind, frames):
    captioner = blind(PseudoTokens, kind, pseudo_tokens=2, top_tokens=6, temperature=0.1, clip_scale=0.7)
    images, draw = shown(3, frames), torch.Generator().manual_seed(0)
    start = [part.detach() for part in captioner.start()]
    offsets = [0.3 * torch.randn(3, *part.shape[1:], generator=draw) for part in start]
    said = torch.tensor([[3, 9, 5, 0, 0], [2, 0, 0, 0, 0], [7, 8, 2, 4, 6]])
    found = captioner.gradients(start, offsets, said, images)
    for row, length in enumerate((4, 2, 5)):  # the first end token is one of them
        leaves = [offset[row : row + 1].clone().requires_grad_() for offset in offsets]
        loss = 0
        for step in range(length):
            before = said[row, :step].tolist()
            words = captioner.model.decoder.get_input_embeddings()(said[row : row + 1, :step])
            given = torch.cat([captioner.constant_prefix(1), words], dim=1)
            places = torch.arange(step + 1)[None]
            p = captioner.decode(captioner.after(start, leaves), inputs_embeds=given, position_ids=places)[1][0, -1]
            p, unguided = p.softmax(dim=-1), whole(captioner, before)[1][-1].softmax(dim=-1)
            likeliest = p.detach().argsort(descending=True)[:6]
            texts = [captioner.tokenizer.decode([*before, token], skip_special_tokens=True) for token in likeliest]
            targets = torch.from_numpy(softmax(images[row] @ unit(encode(texts)).T / 0.1, axis=1))
            for target in targets:
                loss = loss - 0.7 * (target * p[likeliest].log()).sum() / frames
            loss = loss - captioner.ce_scale * (unguided * p.log()).sum()
        for ours, theirs in zip(found, torch.autograd.grad(loss, leaves), strict=True):
            torch.testing.assert_close(ours[row : row + 1], theirs, atol=2e-4, rtol=2e-3)


def test_pseudo_tokens_bring_the_text_nearer_to_the_image(kind):
    images = of_words("a red square", "the blue wall", "yellow and white", "green picture")
    unguided = caption(blind(PseudoTokens, kind, **STRONG | {"iterations": 1}), images, 1, 6).texts
    still = caption(blind(PseudoTokens, kind, **STRONG | {"learning_rate": 0.0}), images, 1, 6).texts
    said = caption(blind(PseudoTokens, kind, **STRONG), images, 1, 6).texts
    assert still == unguided and mean_likeness(said, images) > mean_likeness(unguided, images) + 0.1


def test_the_first_sentences_of_more_iterations_are_not_lost(kind):
    images = of_words("a red square", "the blue wall")
    captioner = blind(PseudoTokens, kind, **STRONG)
    sentences = candidates(captioner, images, 12, 1, 6)
    cosines = (unit(encode(sentences)).reshape(2, 12, DIM) * images[:, None]).sum(axis=2)
    unguided = caption(blind(PseudoTokens, kind, **STRONG | {"iterations": 1}), images, 1, 6).texts
    assert unguided[0] in sentences[:12] and unguided[1] in sentences[12:]
    for row in cosines:
        different = len(dict.fromkeys(np.round(row, 6)))
        assert different > 2 and (np.diff(row[:different]) < 0).all()
    assert candidates(captioner, images, 1, 1, 6) == [sentences[0], sentences[12]]


def test_frames_count_one_by_one(kind):
    videos = of_words("a red square", "the blue wall", "yellow and white", "green picture").reshape(2, 2, DIM)
    captioner = blind(PseudoTokens, kind, **STRONG)
    said = caption(captioner, videos, 1, 4).texts
    assert said == caption(captioner, videos[:, ::-1], 1, 4).texts  # in any order
    assert said != caption(captioner, unit(videos.mean(axis=1)), 1, 4).texts


def test_draws_by_seed(kind):
    def said(seed):
        return candidates(blind(PseudoTokens, kind, iterations=2, top_tokens=9, seed=seed), shown(2), 2, 1, 8)

    assert said(0) == said(0) and said(0) != said(1)


def test_the_weights_stay(kind):
    captioner = blind(PseudoTokens, kind, **STRONG)
    before = [parameter.clone() for parameter in captioner.model.parameters()]
    caption(captioner, shown(2), 1, 4)
    assert all(torch.equal(a, b) for a, b in zip(before, captioner.model.parameters(), strict=True))


def test_more_candidates_than_iterations(kind):
    with pytest.raises(ValueError, match="9 candidates of 4 iterations: raise iterations"):
        caption(blind(PseudoTokens, kind, iterations=4), shown(1), rerank=9)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"iterations": 0}, "PseudoTokens: iterations 0 is not above 0"),
        ({"pseudo_tokens": 0}, "pseudo_tokens 0 is not above 0"),
        ({"top_k": -1}, "top_k -1 is not above 0"),
        ({"learning_rate": -0.1}, "learning_rate -0.1 is below 0"),
    ],
)
def test_bad_options(kind, options, message):
    with pytest.raises(ValueError, match=message):
        blind(PseudoTokens, kind, **options)
