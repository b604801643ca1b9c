from types import SimpleNamespace

from clipknight.captioning.caption_batches import TokenizedCaptions
from clipknight.captioning.decoders import compact_gpt2, learn_tokenizer
from clipknight.captioning.knight import Knight
from clipknight.captioning.objectives import SelfCritical
from clipknight.captioning.settings import CompactSize
from clipknight.embedding.corpora import Corpus

import numpy as np
import pandas as pd
import pytest
import torch

CAPTIONS = [("1", "red dog"), ("1", "dog red"), ("2", "blue cat"), ("2", "cat blue"), ("3", "alone")]
VECTORS = np.eye(4, dtype=np.float32)


@pytest.fixture
def corpus():
    frame = pd.DataFrame(CAPTIONS, columns=["id", "caption"]).assign(source="s")
    return Corpus("s", frame.assign(caption_id=[f"s/{n}" for n in range(len(frame))]))


@pytest.fixture
def learning(corpus):
    """(objective, model) of a tiny decoder; images 1 and 2 have vectors of their own."""
    tokenizer = learn_tokenizer(corpus.texts, 280)
    neighbours = np.array([[0], [0], [1], [1], [2]])
    captions = TokenizedCaptions(corpus.texts, VECTORS, neighbours, tokenizer, 6)
    torch.manual_seed(0)
    model = Knight(compact_gpt2(tokenizer, CompactSize(layers=1, width=64, positions=16)), dim=4)
    return SelfCritical(captions, corpus, tokenizer, samples=4, max_tokens=6), model


def state_of(model, rate):
    optimizer = torch.optim.AdamW(model.parameters(), rate)

    def learn(loss):
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return SimpleNamespace(model=model, forward=model, share=lambda count: 1.0, learn=learn)


def test_captions_without_siblings_are_left_out(learning):
    objective, _ = learning
    loader = objective.batches(batch_size=2, seed=0)
    loader.batch_sampler.set_position(0, 0)
    seen = [(row, vectors) for batch in loader for vectors, row in zip(*batch, strict=True)]
    assert sorted(int(row) for row, _ in seen) == [0, 1, 2, 3]
    for row, vectors in seen:
        np.testing.assert_array_equal(vectors, VECTORS[[row // 2]])


def test_nothing_has_siblings(corpus):
    alone = Corpus("alone", corpus.captions.assign(id=list("abcde")))
    captions = TokenizedCaptions(alone.texts, VECTORS, np.zeros((5, 1), int), learn_tokenizer(alone.texts, 280), 6)
    with pytest.raises(ValueError, match="no image of alone has two captions"):
        SelfCritical(captions, alone, None, 4, 6).batches(2, 0)


def test_a_sample_is_rewarded_by_the_others_and_not_by_its_own_caption(learning):
    objective, _ = learning
    said = ["dog red", "red dog", "dog", "blue cat"] * 2
    tokens = objective.tokenizer(said, padding=True, return_tensors="pt", add_special_tokens=False).input_ids
    first, second = objective._rewards(tokens, torch.tensor([0, 1]))
    assert first[0] == first.max() > first[2] > first[3] == 0  # row 0 is "red dog": it is judged by "dog red"
    assert second[1] == second.max() and second[1] == first[0]


def test_a_sample_counts_to_its_first_end(learning):
    objective, model = learning
    torch.manual_seed(3)
    tokens, mask = objective._sampled(model, torch.from_numpy(VECTORS[[[0], [1]]]))
    assert tokens.shape == mask.shape and len(tokens) == 8 and model.training
    end = objective.tokenizer.eos_token_id
    for row, counted in zip(tokens.tolist(), mask.tolist(), strict=True):
        length = row.index(end) + 1 if end in row else len(row)
        assert counted == [1] * length + [0] * (len(row) - length)


def test_it_comes_to_say_what_others_say(learning):
    objective, model = learning
    state = state_of(model, 3e-3)
    words = objective.captions.collate([objective.captions[0, row] for row in range(4)])
    for _ in range(15):
        state.learn(model.train()(*words))

    def reward(seed):
        torch.manual_seed(seed)
        tokens, _ = objective._sampled(model, torch.from_numpy(VECTORS[[[0], [1]] * 16]))
        return objective._rewards(tokens, torch.tensor([0, 2] * 16)).mean().item()

    before = reward(0)
    for step in range(60):
        torch.manual_seed(step)
        objective.learn(state, torch.from_numpy(VECTORS[[[0], [1]] * 4]), torch.tensor([0, 2] * 4))
    assert reward(0) > before + 0.3


def test_a_caption_of_weight_zero_teaches_nothing(learning):
    objective, model = learning
    vectors, tokens, mask = objective.captions.collate([objective.captions[0, row] for row in (0, 2)])
    model.eval()
    plain = model(vectors, tokens, mask)
    weighted = model(vectors, tokens, mask, torch.tensor([1.0, 1.0]))
    torch.testing.assert_close(weighted, plain)
    first = model(vectors[:1], tokens[:1], mask[:1]) * mask[:1].sum() / mask.sum()
    torch.testing.assert_close(model(vectors, tokens, mask, torch.tensor([1.0, 0.0])), first)
