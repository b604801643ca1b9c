from clipknight.embedding.embeddings import unit
from clipknight.methods.zerocap import ZeroCap

import pytest
import torch
from blind_captioners import (
    DIM,
    KINDS,
    WORDS,
    blind,
    candidates,
    caption,
    encode,
    greedy,
    mean_likeness,
    of_words,
    shown,
    whole,
)
from transformers import DynamicCache

pytestmark = pytest.mark.parametrize("kind", KINDS)
STRONG = {"step_size": 1.0, "steps": 8, "top_tokens": 99}


def guided(captioner, image, length):
    """Token ids of ZeroCap for one image without beams: the rules one after the other, nothing kept between tokens."""
    said = []
    while len(said) < length and captioner.end not in said:
        unguided = whole(captioner, said)[1][-1].softmax(dim=-1)
        words = captioner.model.decoder.get_input_embeddings()(torch.tensor([said[:-1]], dtype=torch.long))
        before = DynamicCache()
        prefix = captioner.model.prefix(torch.zeros(1, 1, DIM)).detach()
        captioner.model.decoder(inputs_embeds=torch.cat([prefix, words], dim=1), past_key_values=before)
        parts = [part.detach() for layer in before for part in layer[:2]]

        def probabilities():
            context = DynamicCache([tuple(parts[i : i + 2]) for i in range(0, len(parts), 2)])  # noqa: B023
            last = captioner.model.decoder.get_input_embeddings()(torch.tensor([said[-1:]])) if said else prefix  # noqa: B023
            place = torch.tensor([[len(said)]])  # noqa: B023
            logits = captioner.model.decoder(inputs_embeds=last, past_key_values=context, position_ids=place).logits
            return logits[0, -1].softmax(dim=-1)

        for _ in range(captioner.steps):
            parts = [part.detach().requires_grad_() for part in parts]
            p = probabilities()
            likeliest = p.detach().argsort(descending=True)[: captioner.top_tokens]
            texts = [captioner.tokenizer.decode([*said, token], skip_special_tokens=True) for token in likeliest]
            target = torch.from_numpy(unit(encode(texts)) @ image / captioner.temperature).softmax(dim=0)
            loss = -captioner.clip_scale * (target * p[likeliest].log()).sum()
            loss = loss + captioner.ce_scale * (p * (p.log() - unguided.log())).sum()
            loss.backward()
            parts = [
                part - captioner.step_size * part.grad / part.grad.norm().clamp(min=1e-5) ** captioner.grad_norm
                for part in parts
            ]
        mixed = probabilities().detach() ** captioner.fusion * unguided ** (1 - captioner.fusion)
        said.append(int(mixed.argmax()))
    return said


@pytest.mark.parametrize("options", [{}, {"step_size": 1.0, "temperature": 0.2, "fusion": 0.8, "grad_norm": 0.7}])
def test_against_a_loop(kind, options):
    captioner, images = blind(ZeroCap, kind, steps=3, top_tokens=8, **options), shown(3)
    expected = captioner.texts([guided(captioner, image, 6) for image in images])
    captioner.model.zero_grad()
    assert captioner.found(images[:, None], 1, 1, 6) == expected


@pytest.mark.parametrize("options", [{"steps": 0}, {"step_size": 0.0}, {"fusion": 0.0, "steps": 1}])
def test_without_guidance_the_likeliest_token(kind, options):
    captioner = blind(ZeroCap, kind, **options)
    assert captioner.found(shown(3, 1), 1, 1, 10) == captioner.texts(greedy(captioner, 3, 10))


def test_beams_against_a_loop(kind):
    captioner, beams, length = blind(ZeroCap, kind, steps=0), 4, 7
    captioner.tokenizer.eos_token = WORDS[greedy(captioner, 1, 2)[0, 1]]  # a word often said: some beams end early

    def mean(hypothesis):
        return hypothesis[1] / len(hypothesis[0])

    alive = [((), 0.0)]
    for _ in range(length):
        grown = []
        for said, total in alive:
            if said and said[-1] == captioner.end:
                grown.append((said, total))
                continue
            gain = whole(captioner, list(said))[1][-1].log_softmax(dim=-1)
            grown += [((*said, token), total + float(gain[token])) for token in range(len(WORDS))]
        alive = sorted(grown, key=mean, reverse=True)[:beams]
    assert len({len(said) for said, _ in alive}) > 1
    padded = [[*said] + [captioner.end] * (length - len(said)) for said, _ in alive]
    expected = captioner.texts(padded)
    assert captioner.found(shown(2, 1), beams, beams, length) == expected * 2
    assert captioner.found(shown(2, 1), 1, beams, length) == expected[:1] * 2


def test_guidance_brings_the_text_nearer_to_the_image(kind):
    images = of_words("a red square", "the blue wall", "yellow and white", "green picture")
    unguided = caption(blind(ZeroCap, kind, steps=0), images, 1, 6).texts
    assert len(set(unguided)) == 1
    said = caption(blind(ZeroCap, kind, **STRONG), images, 1, 6).texts
    assert mean_likeness(said, images) > mean_likeness(unguided, images) + 0.1


def test_the_steps_lower_the_loss_of_each_text(kind):
    captioner, images = blind(ZeroCap, kind, **STRONG), shown(3)[:, None]
    said = greedy(captioner, 3, 4).clone()
    said[1] = said[1].flip(0)
    cache = DynamicCache()
    words = captioner.model.decoder.get_input_embeddings()(said)
    with torch.no_grad():
        given = torch.cat([captioner.constant_prefix(3), words], dim=1)
        unguided = captioner.decode(cache, inputs_embeds=given)[1][:, -1].log_softmax(dim=-1)
        context = [(keys[:, :, :-1], values[:, :, :-1]) for keys, values, *_ in cache]
        everything = torch.arange(len(WORDS)).expand(3, -1)
        target = captioner.suitability(images, said, everything, captioner.temperature)
        bent = captioner.after(captioner.bent(context, said, images, unguided), said)
        torch.testing.assert_close(captioner.after(context, said), unguided, atol=1e-4, rtol=1e-4)
    assert ((target * bent).sum(dim=1) > (target * unguided).sum(dim=1) + 0.1).all()


def test_reranking_compares_the_beams(kind):
    captioner, images = blind(ZeroCap, kind, steps=2, top_tokens=20), shown(3)
    beams = candidates(captioner, images, 4, 1, 6)
    assert len(beams) == 12 and all(len(set(beams[i : i + 4])) == 4 for i in (0, 4, 8))
    near = (unit(encode(beams)).reshape(3, 4, DIM) * images[:, None]).sum(axis=2).argmax(axis=1)
    said = caption(captioner, images, 1, 6, rerank=4, rerank_by="embedding").texts
    assert said == [beams[4 * i + best] for i, best in enumerate(near)]


def test_a_video_is_its_mean_frame(kind):
    captioner, videos = blind(ZeroCap, kind, **STRONG), shown(3, 4)
    whole_videos = unit(videos.mean(axis=1))
    assert caption(captioner, videos, 1, 4).texts == caption(captioner, whole_videos, 1, 4).texts
    assert caption(captioner, videos, 1, 4).texts != caption(captioner, videos[:, 0], 1, 4).texts


@pytest.mark.parametrize(
    "options, message",
    [
        ({"top_tokens": 0}, "ZeroCap: top_tokens 0 is not above 0"),
        ({"temperature": -1.0}, "temperature -1.0 is not above 0"),
        ({"steps": -1}, "steps -1 is below 0"),
        ({"fusion": 1.1}, "fusion 1.1 is not between 0 and 1"),
    ],
)
def test_bad_options(kind, options, message):
    with pytest.raises(ValueError, match=message):
        blind(ZeroCap, kind, **options)
