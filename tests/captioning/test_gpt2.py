from clipknight.captioning.gpt2 import GPT2, GPT2Sizes

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

WIDTH, STEPS = 32, 20


def models(vocabulary: int) -> tuple[GPT2, GPT2LMHeadModel, int]:
    """Ours, transformers' of the same weights, and a token that they often say: as the end, it comes early and late."""
    sizes = {"vocab_size": vocabulary, "n_positions": 3 + STEPS, "n_embd": WIDTH, "n_layer": 2, "n_head": 2}
    torch.manual_seed(vocabulary)
    theirs = GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=0, eos_token_id=0, pad_token_id=0)).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(torch.randn(parameter.shape), alpha=0.2)
    ours = GPT2(GPT2Sizes(**sizes))
    ours.load_state_dict({name: tensor for name, tensor in theirs.state_dict().items() if name != "lm_head.weight"})
    end = by_transformers(theirs, prefixes(), eos_token_id=vocabulary, num_beams=1).flatten().mode().values.item()
    return ours, theirs, end


def prefixes() -> torch.Tensor:
    return torch.randn(12, 3, WIDTH, generator=torch.Generator().manual_seed(1))


def by_transformers(model: GPT2LMHeadModel, prefix: torch.Tensor, eos_token_id: int, **options) -> torch.Tensor:
    mask = torch.ones(prefix.shape[:2], dtype=torch.long)
    options |= {"eos_token_id": eos_token_id, "pad_token_id": eos_token_id, "do_sample": False}
    return model.generate(inputs_embeds=prefix, attention_mask=mask, max_new_tokens=STEPS, **options)


@pytest.mark.parametrize("beams, count", [(1, 1), (2, 1), (5, 5), (10, 4)])
@pytest.mark.parametrize("vocabulary", [24, 300])
def test_says_what_transformers_says(vocabulary, beams, count):
    ours, theirs, end = models(vocabulary)
    expected = by_transformers(theirs, prefixes(), end, num_beams=beams, num_return_sequences=count)
    found = ours.generate(prefixes(), beams, STEPS, end, count)
    lengths = (expected != end).sum(1)
    assert lengths.min() < 5 and lengths.max() > 18 and len(lengths.unique()) > 3  # else little is tried
    assert torch.equal(found[:, : expected.shape[1]], expected) and (found[:, expected.shape[1] :] == end).all()


def test_in_half_precision_as_transformers_but_for_rounding():
    ours, theirs, end = models(300)
    with torch.autocast("cpu", torch.bfloat16):
        expected = by_transformers(theirs, prefixes(), end, num_beams=3)
        found = ours.generate(prefixes(), 3, STEPS, end)
    assert (found[:, : expected.shape[1]] == expected).all(1).sum() > 8


def test_a_caption_is_the_same_alone_and_among_others():
    ours, _, end = models(24)
    alone = torch.cat([ours.generate(own[None], 4, STEPS, end) for own in prefixes()])
    assert torch.equal(ours.generate(prefixes(), 4, STEPS, end), alone)
