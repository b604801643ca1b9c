from clipknight.captioning.caption_batches import CaptionBatches, TokenizedCaptions, caption_batches
from clipknight.captioning.decoders import learn_tokenizer

import numpy as np
import pytest
import torch


@pytest.fixture(scope="module")
def tokenizer():
    return learn_tokenizer(["a red dog runs", "two cats"], 300)


@pytest.fixture(scope="module")
def captions(tokenizer):
    """203 captions of 1 to 30 words, each with two neighbours."""
    draw = np.random.default_rng(0)
    texts = [" ".join(["dog"] * words) for words in draw.integers(1, 31, 203)]
    vectors = draw.standard_normal((50, 4)).astype(np.float32)
    return TokenizedCaptions(texts, vectors, draw.integers(0, 50, (203, 2)), tokenizer, max_tokens=200)


def rows_of(batches, epoch):
    batches.set_position(epoch, 0)
    return [[row for _, row in batch] for batch in batches]


def test_a_caption_ends_in_the_end_token_and_is_cut(tokenizer):
    tokens = TokenizedCaptions(["a red dog runs", "two cats", "."], None, None, tokenizer, max_tokens=4).tokens
    whole = tokenizer("a red dog runs", add_special_tokens=False).input_ids
    assert len(whole) > 3 and tokens[0].tolist() == [*whole[:3], tokenizer.eos_token_id]
    assert tokenizer.decode(tokens[1][:-1]).split() == ["two", "cats"] and tokens[1][-1] == tokenizer.eos_token_id
    assert tokens[2].tolist() == [tokenizer.eos_token_id]


def test_an_item_has_the_vectors_of_its_neighbours(captions):
    vectors, tokens = captions[7, 5]
    np.testing.assert_array_equal(vectors, captions.vectors[captions.neighbours[5]])
    assert vectors.shape == (2, 4) and tokens is captions.tokens[5] and len(captions) == 203


def test_batches_are_padded_on_the_right(captions):
    items = [captions[0, row] for row in (3, 9, 11)]
    vectors, tokens, mask = captions.collate(items)
    lengths = [len(item[1]) for item in items]
    assert vectors.shape == (3, 2, 4) and tokens.shape == mask.shape == (3, max(lengths))
    assert tokens.dtype == mask.dtype == torch.int64 and mask.sum(1).tolist() == lengths
    for row, (_, own) in enumerate(items):
        assert tokens[row, : len(own)].tolist() == own.tolist()
        assert (tokens[row, len(own) :] == captions.end).all() and mask[row, : len(own)].all()


def test_captions_of_like_length_are_together(captions):
    batches = CaptionBatches(captions, 8, seed=0)
    spread = [np.ptp(batches.lengths[rows]) for rows in rows_of(batches, 0)]
    assert np.mean(spread) < 3 < np.ptp(batches.lengths) / 4
    firsts = [batches.lengths[rows[0]] for rows in rows_of(batches, 0)]
    assert firsts != sorted(firsts)


def test_every_epoch_has_its_own_order(captions):
    batches = CaptionBatches(captions, 8, seed=0)
    first, second, again = (rows_of(batches, epoch) for epoch in (0, 1, 0))
    assert first == again != second and len(batches) == len(first) == 25
    assert first != rows_of(CaptionBatches(captions, 8, seed=1), 0)
    assert {len(rows) for rows in first} == {8} and len(set(np.concatenate(first))) == 200


def test_what_is_left_over_is_not_always_the_longest(captions):
    batches = CaptionBatches(captions, 64, seed=0)
    seen = [set(np.concatenate(rows_of(batches, epoch))) for epoch in range(8)]
    assert all(len(rows) == 192 for rows in seen) and set.union(*seen) == set(range(203))


def test_going_on_within_an_epoch(captions):
    loader = caption_batches(captions, 8, seed=0)
    whole = [tokens for _, tokens, _ in loader]
    loader.batch_sampler.set_position(0, 20)
    rest = [tokens for _, tokens, _ in loader]
    assert len(rest) == 5 and all(torch.equal(a, b) for a, b in zip(whole[20:], rest, strict=True))


def test_a_batch_larger_than_the_corpus_is_refused(captions):
    with pytest.raises(ValueError, match="a batch of 204 does not fit 203 training rows: lower --batch_size"):
        caption_batches(captions, 204, seed=0)


def test_two_processes_see_at_each_step_what_one_sees(captions):
    one, two = CaptionBatches(captions, 16, seed=0), CaptionBatches(captions, 8, seed=0, processes=2)
    halves = rows_of(two, 1)
    assert [a + b for a, b in zip(halves[::2], halves[1::2], strict=True)] == rows_of(one, 1)
