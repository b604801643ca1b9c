"""What a tracker is told of a training, and that the training does not depend on it."""

import importlib.util
import sys
from types import SimpleNamespace

from clipknight.training import settings
from clipknight.training.runs import Run
from clipknight.training.settings import ResumableSettings, tracker_named
from clipknight.training.tracking import SIDE, Tracking, captioned_pictures

import numpy as np
import pytest
import tiny_models
import torch
from accelerate import tracking
from PIL import Image
from small_training import a_state, train


class Noted:
    """Stands for TensorBoard: notes what it is told."""

    told = []

    def __init__(self, place, /, **options):
        self.told.append(("began", {"place": place, **options}, None))

    def start(self):
        pass

    def log(self, values, step):
        self.told.append(("log", values, step))

    def log_images(self, values, step, dataformats):
        self.told.append(("images", values, step))

    def finish(self):
        self.told.append(("finished", {}, None))


@pytest.fixture
def told(monkeypatch):
    monkeypatch.setattr(settings, "find_spec", lambda name: name)
    monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, "tensorboard", Noted)
    monkeypatch.setattr(Noted, "told", [])
    return Noted.told


def test_every_step_and_every_epoch(told, tmp_path):
    state = a_state(tmp_path, track="auto")
    rates = train(state)
    assert told[0][1] == {"place": "tensorboard", "logging_dir": str(tmp_path), "purge_step": 1}
    steps = [(values["rate"], step) for kind, values, step in told if "batch_loss" in values]
    assert steps == [(pytest.approx(rate), step) for step, rate in enumerate(rates, 1)]
    losses = [values["batch_loss"] for _, values, _ in told if "batch_loss" in values]
    epochs = [(values["loss"], values["score"], step) for _, values, step in told if "score" in values]
    assert epochs == [(pytest.approx(np.mean(losses[:5])), 0.0, 5), (pytest.approx(np.mean(losses[5:])), 0.0, 10)]
    assert told[-1][0] == "finished"


def test_the_training_is_the_same_and_a_resumed_one_forgets_what_came_after_the_save(told, tmp_path):
    alone, followed = a_state(tmp_path / "alone"), a_state(tmp_path / "followed", track="auto")
    train(alone)
    train(followed, 8)  # the last save is of the first epoch's end
    followed = a_state(tmp_path / "followed", track="auto", resume=True)
    train(followed)
    assert torch.equal(alone.model.weight, followed.model.weight)
    assert [values["purge_step"] for kind, values, _ in told if kind == "began"] == [1, 6]


def test_pictures_with_their_captions(told, tmp_path):
    Image.new("RGB", (400, 200), tiny_models.COLOURS["blue"]).save(tmp_path / "a.png")
    captions = {str(tmp_path / "a.png"): "a blue picture", str(tmp_path / "gone.png"): "word " * 30}
    sheet = captioned_pictures(captions)
    assert sheet.shape[1] == 2 * SIDE and sheet.shape[0] > SIDE
    assert tuple(sheet[50, 100]) == tuple(tiny_models.COLOURS["blue"]) and (sheet[:SIDE, SIDE:] == 255).all()
    assert (sheet[SIDE:, :SIDE] < 128).any() and (sheet[SIDE:, SIDE:] < 128).any()  # both have words
    Tracking(Run(tmp_path), "tensorboard", 0).show(captions, 7)
    kind, values, step = told[-1]
    assert (kind, step) == ("images", 7) and (values["captions"][0] == sheet).all()


def test_a_tensorboard_that_does_not_load_is_no_reason_to_stop(told, monkeypatch, tmp_path, capsys):
    def start(self):
        raise ImportError("protobuf is too old")

    monkeypatch.setattr(Noted, "start", start)
    followed = Tracking(Run(tmp_path), "auto", 0)
    followed.log({"loss": 1.0}, 1)
    assert "does not load (protobuf is too old)" in capsys.readouterr().out and len(told) == 1
    with pytest.raises(ImportError):
        Tracking(Run(tmp_path), "tensorboard", 0)


def test_which_tracker(monkeypatch):
    monkeypatch.setattr(settings, "find_spec", lambda name: None)
    assert tracker_named("auto") == tracker_named("none") == ""
    with pytest.raises(ValueError, match="the tracker wandb needs a package that is not installed: pip install wandb"):
        ResumableSettings(run="a", track="wandb")


def stand_in(monkeypatch, mode="online", login=lambda prompt: True):
    """A package wandb that has these."""
    wandb = SimpleNamespace(
        setup=lambda: SimpleNamespace(settings=SimpleNamespace(mode=mode)),
        login=login,
        errors=SimpleNamespace(Error=ConnectionError),
    )
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    monkeypatch.setattr(settings, "find_spec", lambda name: name)
    settings.check_account.cache_clear()


def unreachable(prompt):
    raise ConnectionError("the server did not answer")


@pytest.mark.parametrize(
    "login, message",
    [
        (lambda prompt: prompt, "no account of Weights & Biases is set on this machine: type wandb login once, or set"),
        (unreachable, "is not reached .the server did not answer.: type wandb login once, or set WANDB_MODE=offline"),
        (lambda: True, "older than 0.31, which is needed: pip install -U wandb"),
    ],
)
def test_an_account_is_asked_for_in_a_line_before_the_work(monkeypatch, login, message):
    stand_in(monkeypatch, login=login)
    with pytest.raises(ValueError, match=message):
        ResumableSettings(run="a", track="wandb")
    stand_in(monkeypatch, "offline", login)
    assert ResumableSettings(run="a", track="wandb").track == "wandb"
    ResumableSettings(run="a", track="tensorboard")


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_other_trackers_are_told_the_same(name, told, monkeypatch, tmp_path):
    monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, name, Noted)
    (tmp_path / "settings.yaml").write_text("seed: 0", encoding="utf-8")
    rates = train(a_state(tmp_path, track=name))
    began = told[0][1]
    assert began["config"] == {"seed": 0} and not began["name"].startswith("/")
    assert began.get("dir") == (str(tmp_path) if name == "wandb" else None)
    assert [values["rate"] for _, values, _ in told if "rate" in values] == [pytest.approx(rate) for rate in rates]


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_the_packages_themselves_keep_it_on_this_machine(name, monkeypatch, tmp_path):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))  # read as it is imported
    pytest.importorskip(name, reason=f"{name} is not installed")
    monkeypatch.setattr(settings, "find_spec", importlib.util.find_spec)
    (tmp_path / "settings.yaml").write_text("seed: 0", encoding="utf-8")
    followed = Tracking(Run(tmp_path), name, 0)
    followed.log({"loss": 0.5}, 1)
    followed.show({str(tmp_path / "gone.png"): "a caption"}, 1)
    followed.finish()
    (picture,) = (tmp_path / name).rglob("*.png")
    assert Image.open(picture).width == SIDE


def test_tensorboard_reads_it(monkeypatch, tmp_path):
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed")
    monkeypatch.setattr(settings, "find_spec", importlib.util.find_spec)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    followed = Tracking(Run(tmp_path), "tensorboard", 0)
    followed.log({"loss": 0.5, "name": "left out", "done": True}, 3)
    followed.show({str(tmp_path / "gone.png"): "a caption"}, 3)
    followed.finish()
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(3, 0.5)]
    assert events.Tags()["scalars"] == ["loss"]
    assert [(event.step, event.width) for event in events.Images("captions")] == [(3, SIDE)]
