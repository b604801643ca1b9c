"""A training of a second that a TrainingState goes through: a linear layer learns to give zero."""

from types import SimpleNamespace

from clipknight.training.batches import EpochBatches
from clipknight.training.learning_rates import new_layer_groups
from clipknight.training.runs import Run
from clipknight.training.state import TrainingState

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

SETTINGS = {"seed": 0, "epochs": 2, "warmup": 0.2, "ema": 0.5, "save_every": 100, "resume": False}


class Numbers(Dataset):
    """20 rows of 3 numbers."""

    rows = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))

    def __getitem__(self, position):
        return self.rows[position[1]]


def a_state(folder, score_start=False, processes=1, **settings):
    """Five steps of four rows an epoch, for one process."""
    torch.manual_seed(0)
    model, s = nn.Linear(3, 2), SimpleNamespace(**{**SETTINGS, **settings})
    loader = DataLoader(Numbers(), batch_sampler=EpochBatches(20, 4, s.seed, processes))
    groups = new_layer_groups([model], 0.1, 0.05)
    return TrainingState(Run(folder), model, groups, loader, s, torch.float32, "score", score_start)


def train(state, steps=10**9):
    """The learning rate of each step, until so many are done."""
    rates = []
    for _ in state.epochs():
        for rows in state.batches():
            rates.append(state.optimizer.param_groups[0]["lr"])
            state.learn(state.forward(rows).square().mean())
            if len(rates) == steps:
                return rates
        state.log(score=0.0)
    return rates


class Killed(BaseException):
    """What no training catches."""


def broken_off(main, argv, saves):
    """As if a training were killed after so many saves."""
    save, done = TrainingState.save, []

    def save_then_stop(state):
        save(state)
        done.append(state.position)
        if len(done) == saves:
            raise Killed

    TrainingState.save = save_then_stop
    try:
        main(argv)
    except Killed:
        pass
    finally:
        TrainingState.save = save
