from clipknight.training.batches import EpochBatches

import pytest


def test_every_epoch_has_its_own_order_of_all_rows():
    batches = EpochBatches(10, 3, seed=0)
    seen = []
    for epoch in (0, 1, 0):
        batches.set_position(epoch, 0)
        epoch_batches = list(batches)
        assert [len(b) for b in epoch_batches] == [3, 3, 3] and len(batches) == 3
        assert {e for b in epoch_batches for e, _ in b} == {epoch}
        seen.append([row for b in epoch_batches for _, row in b])
        assert len(set(seen[-1])) == 9
    assert seen[0] == seen[2] != seen[1]
    assert list(EpochBatches(10, 3, seed=1)) != list(EpochBatches(10, 3, seed=0))


@pytest.mark.parametrize("batch", [0, 1, 3])
def test_going_on_within_an_epoch(batch):
    whole, resumed = EpochBatches(10, 3, seed=0), EpochBatches(10, 3, seed=0)
    whole.set_position(4, 0)
    resumed.set_position(4, batch)
    assert list(resumed) == list(whole)[batch:] and len(resumed) == 3 - batch


def test_a_batch_larger_than_the_data_is_refused():
    with pytest.raises(ValueError, match="batch of 64 does not fit 24 training rows: lower --batch_size"):
        EpochBatches(24, 64, seed=0)


def test_two_processes_see_at_each_step_what_one_sees():
    one, two = EpochBatches(23, 6, seed=0), EpochBatches(23, 3, seed=0, processes=2)
    for start in (0, 1):
        one.set_position(2, start)
        two.set_position(2, start)
        batches = list(two)
        assert len(batches) == len(two) == 2 * len(one)  # whole steps: none is left without a batch
        assert [a + b for a, b in zip(batches[::2], batches[1::2], strict=True)] == list(one)


def test_a_step_larger_than_the_data_is_refused():
    with pytest.raises(ValueError, match="a batch of 8 for each of 4 processes does not fit 31 training rows"):
        EpochBatches(31, 8, seed=0, processes=4)
