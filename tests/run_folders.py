"""Breaking a training off, and comparing the folders of two runs."""

import json

from clipknight.embedding.embeddings import Embeddings
from clipknight.training.runs import Run
from clipknight.training.state import TrainingState

import numpy as np
import pytest
import torch
from safetensors.torch import load_file


class Killed(BaseException):
    """Nothing catches it, as nothing catches a kill."""


def break_off(monkeypatch, main, argv, saves, before=False):
    """Run `main` until the training state has been saved `saves` times, then as if killed; `before` drops the last."""
    save, done = TrainingState.save, []

    def save_then_stop(state):
        done.append(state.position)
        if not (before and len(done) == saves):
            save(state)
        if len(done) == saves:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(TrainingState, "save", save_then_stop)
        with pytest.raises(Killed):
            main(argv)


def assert_same_training(a: Run, b: Run):
    """Every tensor of best/ and last/, every prediction and every logged number is equal."""
    assert_same_tree(a.folder / "best", b.folder / "best")
    states = [torch.load(run.folder / "last" / "state.pt", weights_only=True) for run in (a, b)]
    assert_equal(*states, "state.pt")
    events = [[{k: v for k, v in event.items() if k != "time"} for event in run.events()] for run in (a, b)]
    assert events[0] == events[1] and events[0]
    assert files(a.folder / "predictions") == files(b.folder / "predictions")
    for split in ("valid", "test"):
        if (a.folder / "predictions" / split).is_dir():
            first, second = (Embeddings.load(run.folder / "predictions" / split) for run in (a, b))
            np.testing.assert_array_equal(first.vectors, second.vectors)
    assert a.info["summary"] == b.info["summary"] and a.finished and b.finished


def files(folder) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def assert_same_tree(a, b):
    assert files(a) == files(b)
    for name in files(a):
        if name.endswith(".safetensors"):
            assert_equal(load_file(a / name), load_file(b / name), name)
        else:
            assert json.loads((a / name).read_text(encoding="utf-8")) == json.loads(
                (b / name).read_text(encoding="utf-8")
            )


def assert_equal(a, b, where):
    if isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_equal(a[key], b[key], f"{where}/{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_equal(x, y, f"{where}/{i}")
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    else:
        assert a == b, where
