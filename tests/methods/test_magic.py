from clipknight.embedding.embeddings import unit
from clipknight.methods.magic import MAGIC

import numpy as np
import pytest
import torch
from blind_captioners import KINDS, WORDS, blind, caption, encode, greedy, of_words, shown, whole
from scipy.special import softmax
from tiny_models import COLOURS

pytestmark = pytest.mark.parametrize("kind", KINDS)


def searched(captioner, image, length):
    """Token ids of MAGIC for one image, each candidate by itself and without a cache."""
    said = []
    for _ in range(length):
        before, logits = whole(captioner, said)
        confidence, candidates = logits[-1].softmax(dim=-1).topk(captioner.k)
        texts = [captioner.tokenizer.decode([*said, token], skip_special_tokens=True) for token in candidates]
        magic = softmax(unit(encode(texts)) @ image / captioner.temperature)
        scores = []
        for sure, token, suits in zip(confidence, candidates, magic, strict=True):
            state = whole(captioner, [*said, token])[0][-1]
            alike = max(torch.cosine_similarity(state, other, dim=0) for other in before)
            scores.append((1 - captioner.alpha) * sure - captioner.alpha * alike + captioner.beta * suits)
        said.append(int(candidates[int(torch.tensor(scores).argmax())]))
        if said[-1] == captioner.end:
            break
    return said


@pytest.mark.parametrize("alpha, beta, temperature", [(0.1, 2, 0.01), (0.6, 0.3, 0.2)])
def test_against_a_loop(kind, alpha, beta, temperature):
    captioner = blind(MAGIC, kind, k=9, alpha=alpha, beta=beta, temperature=temperature)
    images = shown(4)
    expected = captioner.texts([searched(captioner, image, 7) for image in images])
    assert captioner.found(images[:, None], 1, 5, 7) == expected and len(set(expected)) > 1


@pytest.mark.parametrize("k", [1, 10])
def test_without_penalty_and_image_the_likeliest_token(kind, k):
    captioner = blind(MAGIC, kind, encode=None, k=k, alpha=0, beta=0)  # nor is any text compared
    assert captioner.found(shown(3, 1), 1, 5, 12) == captioner.texts(greedy(captioner, 3, 12))


def test_a_strong_image_gets_its_own_word_and_no_other(kind):
    captioner = blind(MAGIC, kind, k=99, beta=1000)  # more than a token's probability and any cosine
    assert caption(captioner, of_words(*COLOURS)).texts == [name.capitalize() for name in COLOURS]


def test_a_text_that_ends_leaves_the_others_as_they_are(kind):
    captioner = blind(MAGIC, kind, k=99, beta=1000)
    images = np.concatenate([shown(1), of_words("red"), shown(1, seed=1)])
    said = caption(captioner, images).texts
    assert said == [caption(captioner, image[None]).texts[0] for image in images]
    assert said[1] == "Red" and all(len(text.split()) > 1 for text in said[::2])


def test_more_candidates_than_tokens(kind):
    images = shown(2)
    assert caption(blind(MAGIC, kind, k=9999), images).texts == (
        caption(blind(MAGIC, kind, k=len(WORDS)), images).texts
    )


def test_the_penalty_keeps_a_text_from_repeating_itself(kind):
    def different(alpha):
        captioner = blind(MAGIC, kind, k=20, alpha=alpha, beta=0)
        (text,) = captioner.found(shown(1, 1), 1, 1, 16)
        tokens = captioner.tokenizer(text).input_ids
        states = torch.nn.functional.normalize(whole(captioner, tokens)[0], dim=-1)
        return (states @ states.T).triu(1).max(dim=0).values.mean()

    assert different(1.0) < different(0.0)


def test_one_caption_an_image(kind):
    with pytest.raises(ValueError, match="MAGIC finds one caption an image: there are none to rerank"):
        caption(blind(MAGIC, kind), shown(1), rerank=2)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"k": 0}, "MAGIC: k 0 is not above 0"),
        ({"alpha": 1.5}, "alpha 1.5 is not between 0 and 1"),
        ({"beta": -1.0}, "beta -1.0 is below 0"),
        ({"temperature": 0.0}, "temperature 0.0 is not above 0"),
    ],
)
def test_bad_options(kind, options, message):
    with pytest.raises(ValueError, match=message):
        blind(MAGIC, kind, **options)
