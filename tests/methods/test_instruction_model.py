"""What a language model says after prompts, and how likely it finds answers, against one prompt at a time."""

from clipknight.methods.instruction_model import IMAGE, InstructionModel

import numpy as np
import pytest
import tiny_models
import torch

PROMPTS = ["a red picture", "what is it?", "everything here is blue, and nothing else is", "the"]
ANSWERS = ["red", "a blue square", "yes", "everything here is painted white"]
CHAT = (
    "{% for turn in messages %}[{{ turn.role }}: {{ turn.content }}]{% endfor %}"
    "{% if add_generation_prompt %}[a: {% endif %}"
)


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def folder(request, tmp_path_factory):
    return tiny_models.write_language_model(tmp_path_factory.mktemp("lm") / request.param, request.param, 1, 256)


@pytest.fixture
def model(folder):
    return InstructionModel.load(str(folder), device="cpu", precision="fp32", batch_size=3)


def vectors(model, count, places=2):
    width = model.model.get_input_embeddings().embedding_dim
    return torch.randn(count, places, width, generator=torch.Generator().manual_seed(0))


# What it says


def test_greedy_words_against_stock_generate(model):
    for prompt, said in zip(PROMPTS, model.say(PROMPTS, 6), strict=True):
        ids = model.tokenizer(prompt, return_tensors="pt").input_ids
        tokens = model.model.generate(ids, max_new_tokens=6, do_sample=False, pad_token_id=model.tokenizer.eos_token_id)
        assert said == model.tokenizer.decode(tokens[0, ids.shape[1] :], skip_special_tokens=True)


@pytest.mark.parametrize("options", [{}, {"num_beams": 3, "num_return_sequences": 3}])
@pytest.mark.parametrize("seeing", [False, True])
def test_batches_say_what_single_prompts_do(model, options, seeing):
    prompts = [f"{prompt} {IMAGE} {prompt}" for prompt in PROMPTS] if seeing else PROMPTS
    seen = vectors(model, len(PROMPTS)) if seeing else None
    together = model.say(prompts, 6, seen, **options)
    alone = [model.say([p], 6, seen[i : i + 1] if seeing else None, **options) for i, p in enumerate(prompts)]
    assert together == [text for texts in alone for text in texts]
    assert len(set(together)) > 3 and len(together) == len(PROMPTS) * options.get("num_return_sequences", 1)


def test_padding_is_on_the_left_and_vectors_stand_at_their_place(model):
    prompts, seen = [f"red {IMAGE} blue picture", f"{IMAGE} a"], vectors(model, 2)
    ((rows, embedded, mask),) = model._batches(prompts, seen, 1, 2)
    assert rows.tolist() == [1, 0]  # like lengths together, the shortest first
    embed, encode = model.model.get_input_embeddings(), model.tokenizer
    for row, place, own in zip(rows, embedded, mask, strict=True):
        before, after = (encode(part, return_tensors="pt").input_ids[0].long() for part in prompts[row].split(IMAGE))
        wanted = torch.cat([embed(before), seen[row], embed(after)])
        assert own.tolist() == [0] * (len(own) - len(wanted)) + [1] * len(wanted)
        torch.testing.assert_close(place[-len(wanted) :], wanted)
    assert mask[0, 0] == 0


def test_vectors_change_what_is_said(model):
    prompts = [f"{IMAGE} what is it?"] * 6
    said = model.say(prompts, 6, vectors(model, 6) * 3)
    assert len(set(said)) > 2


def test_a_model_with_a_chat_format_is_instructed_in_it(model):
    plain = model.say(PROMPTS, 6)
    model.tokenizer.chat_template = CHAT
    ((_, embedded, _),) = model._batches(PROMPTS[:1], None, 1, 1)
    ids = model.tokenizer(f"[user: {PROMPTS[0]}][a: ", return_tensors="pt").input_ids
    torch.testing.assert_close(embedded, model.model.get_input_embeddings()(ids))
    assert model.say(PROMPTS, 6) != plain
    model.chat = False
    assert model.say(PROMPTS, 6) == plain


# How likely it finds answers


@pytest.mark.parametrize("seeing", [False, True])
def test_likelihoods_against_a_loop(model, seeing):
    prompts = [f"{IMAGE}{prompt}" for prompt in PROMPTS] if seeing else PROMPTS
    seen = vectors(model, len(PROMPTS)) if seeing else None
    found = model.log_likelihoods(prompts, ANSWERS, seen)
    embed = model.model.get_input_embeddings()
    for i, prompt in enumerate(PROMPTS):
        for j, answer in enumerate(ANSWERS):
            before = embed(model.tokenizer(prompt, return_tensors="pt").input_ids)
            before = torch.cat([seen[i : i + 1], before], dim=1) if seeing else before
            ids = model.tokenizer(" " + answer, return_tensors="pt").input_ids
            with torch.no_grad():
                logits = model.model(inputs_embeds=torch.cat([before, embed(ids)], dim=1)).logits
            likely = logits[0, before.shape[1] - 1 : -1].log_softmax(dim=-1)
            np.testing.assert_allclose(found[i, j], likely.gather(1, ids[0][:, None]).sum().item(), rtol=1e-4)


def test_likelihoods_of_answers_of_one_token(model):
    one = [model.tokenizer.decode([token]).strip() for token in (270, 280)]
    both = model.log_likelihoods(PROMPTS, one)
    np.testing.assert_allclose(model.log_likelihoods(PROMPTS, [*one, ANSWERS[3]])[:, :2], both, rtol=1e-4)


def test_mistakes(model):
    with pytest.raises(ValueError, match="exceeds the language model's 256 positions: put fewer captions into it"):
        model.say(["red " * 300])
    with pytest.raises(ValueError, match="that of an answer, and one is empty"):
        InstructionModel.log_likelihoods(model, PROMPTS, ["red", " "])
