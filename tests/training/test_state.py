from types import SimpleNamespace

from clipknight.training.mixed_precision import mixed
from clipknight.training.state import START, freeze_batch_norm

import pytest
import torch
from accelerate import Accelerator
from small_training import a_state, train
from torch import nn


def test_batch_norm_keeps_its_statistics():
    model = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2), nn.Dropout())
    before = model[1].running_mean.clone()
    model.train()
    freeze_batch_norm(model)
    model(torch.randn(8, 3, 4, 4) + 5)
    assert torch.equal(model[1].running_mean, before) and model[2].training and model[1].weight.requires_grad


def test_accelerates_names_for_precisions():
    assert [mixed(d) for d in (torch.float32, torch.bfloat16, torch.float16)] == ["no", "bf16", "fp16"]


def test_the_rate_rises_then_falls_to_zero(tmp_path):
    state = a_state(tmp_path)
    rates = train(state)
    assert len(rates) == 10 and rates[0] == 0 and rates[2] == pytest.approx(0.1) == max(rates)
    assert sorted(rates[2:], reverse=True) == rates[2:]
    assert state.optimizer.param_groups[0]["lr"] == pytest.approx(0, abs=1e-9) and state.steps_done == 10


@pytest.mark.parametrize("accumulate, steps", [(2, 6), (5, 2), (3, 4)])
def test_accumulated_batches_make_one_step_and_the_rate_ends_at_zero(tmp_path, accumulate, steps):
    state = a_state(tmp_path, accumulate=accumulate)
    train(state)
    assert state.steps_done == steps  # the last of an epoch may have fewer
    assert state.optimizer.param_groups[0]["lr"] == pytest.approx(0, abs=1e-9)


def test_long_gradients_are_cut(tmp_path):
    state, same = a_state(tmp_path / "a", warmup=0), a_state(tmp_path / "b", warmup=0)
    for s, scale in ((state, 1e6), (same, 1e7)):
        (s.model(torch.ones(1, 3)).sum() * scale).backward()
        s.step()
        norms = s.optimizer.state[s.model.weight]["exp_avg"].norm()
        assert norms < 0.11  # a tenth of a gradient of length 1
    torch.testing.assert_close(state.model.weight, same.model.weight)


def test_ema_follows_behind(tmp_path):
    state = a_state(tmp_path, ema=0.9)
    train(state, 2)
    start = state.averaged.weight.clone()
    train(state, 3)
    moved, averaged = (state.model.weight - start).norm(), (state.averaged.weight - start).norm()
    assert 0 < averaged < moved and state.averaged is not state.model
    assert not state.averaged.weight.requires_grad or state.averaged.weight.grad is None


def test_without_ema_the_model_itself_is_kept(tmp_path):
    state = a_state(tmp_path, ema=0)
    assert state.averaged is state.model


@pytest.mark.parametrize("ema", [0, 0.5])
def test_saved_and_loaded_it_goes_on_alike(tmp_path, ema):
    unbroken, broken = a_state(tmp_path / "unbroken", ema=ema), a_state(tmp_path / "broken", ema=ema, save_every=3)
    train(unbroken)
    train(broken, 8)  # saved after 3 steps and at the epoch's end; the eighth is lost
    resumed = a_state(tmp_path / "broken", ema=ema, resume=True)
    assert (resumed.steps_done, resumed.position, resumed.best) == (5, (1, 0), 0.0)
    train(resumed)
    for a, b in ((resumed.model, unbroken.model), (resumed.averaged, unbroken.averaged)):
        assert torch.equal(a.weight, b.weight)
    assert resumed.schedule.get_last_lr() == unbroken.schedule.get_last_lr()
    losses = [[event["loss"] for event in state.run.events()] for state in (resumed, unbroken)]
    assert losses[0] == losses[1] and len(losses[0]) == 2


def test_after_an_epoch_another_number_of_processes_goes_on_at_the_same_share_of_the_training(tmp_path):
    state, alone = a_state(tmp_path, processes=2), a_state(tmp_path / "alone")
    rates = train(alone)
    train(state, 4)
    state.position = (1, 0)  # where an epoch's batches are done
    state.save()
    resumed = a_state(tmp_path, resume=True)
    assert (resumed.steps_done, resumed.position) == (5, (1, 0))
    assert resumed.schedule.get_last_lr() == [rates[5]]
    assert {group["lr"] for group in resumed.optimizer.param_groups} == {rates[5]}
    state.position = (0, 1)
    state.save()
    with pytest.raises(ValueError, match="of 2 processes in the middle of an epoch, now there are 1: start 2"):
        a_state(tmp_path, resume=True)
    assert a_state(tmp_path, processes=2, resume=True).position == (0, 1)
    old = torch.load(state.run.last_state)
    del old["processes"]  # as runs saved before
    torch.save(old, state.run.last_state)
    assert a_state(tmp_path, resume=True).position == (0, 1)


def test_a_state_that_is_cut_or_of_another_model_is_refused(tmp_path):
    state = a_state(tmp_path)
    train(state, 5)
    state.save()
    file, other = state.run.last_state, nn.Linear(3, 7).state_dict()
    whole = file.read_bytes()
    file.write_bytes(whole[:1000])
    with pytest.raises(ValueError, match="state.pt is no whole checkpoint .*: begin anew, with --overwrite"):
        a_state(tmp_path, resume=True)
    torch.save({"model": other}, file)
    with pytest.raises(ValueError, match="state.pt does not fit this training .*size mismatch.*: begin anew, with"):
        a_state(tmp_path, resume=True)
    torch.save({"model": state.model.state_dict()}, file)
    with pytest.raises(ValueError, match="state.pt says nothing of 'optimizer': begin anew, with --overwrite"):
        a_state(tmp_path, resume=True)


def test_the_start_is_an_epoch_without_batches_whose_score_counts(tmp_path):
    state, kept = a_state(tmp_path, score_start=True), {}
    before = state.averaged.weight.clone()
    for epoch in state.epochs():
        batches = [state.learn(state.forward(rows).mean()) for rows in state.batches()]
        assert len(batches) == (0 if epoch == START else 5)
        if state.log(score=-abs(epoch - 0.9) if epoch != START else -0.2):
            kept[epoch] = state.averaged.weight.clone()
    assert list(kept) == [START, 1] and torch.equal(kept[START], before)
    assert [event["epoch"] for event in state.run.events()] == [START, 0, 1]
    assert "loss" not in state.run.events()[0]


def test_what_was_logged_after_the_last_save_is_forgotten(tmp_path):
    state = a_state(tmp_path)
    epochs = state.epochs()
    next(epochs)
    for rows in state.batches():
        state.learn(state.forward(rows).square().mean())
    assert state.log(score=0.7)  # and then it is killed
    again = a_state(tmp_path, resume=True)
    assert again.position == (0, 0) and again.run.events() == [] and again.best == float("-inf")


class Scaled(Accelerator):
    """With fp16's scaler, which accelerate itself only gives a GPU."""

    def __init__(self, **options):
        super().__init__(**options)
        self.scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=3)


def test_a_step_whose_gradients_overflow_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr("clipknight.training.state.Accelerator", Scaled)
    state, overflow_at = a_state(tmp_path, epochs=1, warmup=0), 2
    for _ in state.epochs():
        for step, rows in enumerate(state.batches()):
            before = state.model.weight.clone(), state.averaged.weight.clone(), state.schedule.get_last_lr()
            state.learn(state.forward(rows).square().mean() * (float("inf") if step == overflow_at else 1))
            moved = not torch.equal(state.model.weight, before[0])
            assert moved == (step != overflow_at)
            assert torch.equal(state.averaged.weight, before[1]) == (not moved)
            assert (state.schedule.get_last_lr() == before[2]) == (not moved)
    assert state.steps_done == 4


def test_the_scale_of_fp16_goes_on_too(tmp_path, monkeypatch):
    monkeypatch.setattr("clipknight.training.state.Accelerator", Scaled)
    unbroken, broken = a_state(tmp_path / "unbroken"), a_state(tmp_path / "broken", save_every=4)
    train(unbroken)
    train(broken, 5)
    resumed = a_state(tmp_path / "broken", resume=True)
    assert resumed.position == (0, 4) and resumed.accelerator.scaler.get_scale() == 16  # after three good steps
    train(resumed)
    assert resumed.accelerator.scaler.state_dict() == unbroken.accelerator.scaler.state_dict()
    assert resumed.accelerator.scaler.get_scale() == 64 and torch.equal(resumed.model.weight, unbroken.model.weight)


def test_every_step_of_every_process_has_a_seed_of_its_own(tmp_path, monkeypatch):
    state, seeds = a_state(tmp_path), []
    monkeypatch.setattr(torch, "manual_seed", seeds.append)
    train(state)
    assert seeds == list(range(10))
    processes = [SimpleNamespace(num_processes=3, process_index=i) for i in range(3)]
    seeds = set()
    for state.accelerator in processes:
        seeds |= {state._seed(epoch, step) for epoch in range(2) for step in range(5)}
    assert len(seeds) == 30
