import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from clipknight.embedding.embeddings import Embeddings
from clipknight.ensemble.predictors import load_predictor
from clipknight.files import lock_of
from clipknight.packs import MANIFEST
from clipknight.settings import without_effect
from clipknight.training import run_folders
from clipknight.training.runs import Run

import filelock
import numpy as np
import pytest


@dataclass(frozen=True)
class Settings:
    data: str = "d"
    lr: float = 1e-5
    workers: int = without_effect(2)
    resume: bool = without_effect(False, saved=False)
    overwrite: bool = without_effect(False, saved=False)


ROWS = Embeddings(["a", "b"], np.eye(2, dtype=np.float32))


def test_a_new_run(outputs):
    run = Run.start("runs/new", Settings(), "model_a", encoder_fingerprint="abc")
    assert run.folder == outputs / "runs" / "new" and run.name == "runs/new"
    assert run.settings == {"data": "d", "lr": 1e-5, "workers": 2}  # how it was called is not kept
    assert run.info["kind"] == "model_a" and run.info["encoder_fingerprint"] == "abc"
    assert {"torch", "python", "cores", "gpu"} <= set(run.info["machine"]) and not run.finished
    run.finish(avg_cos=0.5)
    assert Run.open("runs/new").finished and Run.open(str(run.folder)).info["summary"] == {"avg_cos": 0.5}


def test_an_absolute_path(tmp_path):
    run = Run.start(str(tmp_path / "mine"), Settings())
    assert run.folder == tmp_path / "mine" and Run.open(run.name) == run


def test_overwriting_is_refused_unless_asked_for():
    run = Run.start("runs/there", Settings())
    run.log(epoch=0)
    with pytest.raises(FileExistsError, match="exists: pass --resume to go on with it or --overwrite to replace it"):
        Run.start("runs/there", Settings(), resume=False)
    with pytest.raises(FileExistsError, match="exists: pass --overwrite to replace it"):
        Run.start("runs/there", Settings())
    assert run.events()
    replaced = Run.start("runs/there", Settings(data="other"), overwrite=True)
    assert replaced.events() == [] and replaced.settings["data"] == "other"


def test_the_runs_that_a_typo_is_told_of_are_no_parts_of_a_pack(outputs):
    for part in ("some_pack", "some_pack/runs/part"):
        (outputs / part).mkdir(parents=True)
        (outputs / part / "run.json").write_text("{}", encoding="utf-8")
    (outputs / "some_pack" / MANIFEST).write_text("{}", encoding="utf-8")
    with pytest.raises(FileNotFoundError, match=r"no run 'typo' in .*; there are: .*some_pack") as refused:
        Run.open("typo")
    assert "runs/part" not in str(refused.value)
    shutil.rmtree(outputs / "some_pack")


def test_what_is_no_run_is_never_removed(outputs):
    (outputs / "not_a_run").mkdir(exist_ok=True)
    (outputs / "not_a_run" / "photo.jpg").touch()
    with pytest.raises(FileExistsError, match="is not a run's folder: choose another --run"):
        Run.start("not_a_run", Settings(), overwrite=True)
    with pytest.raises(FileNotFoundError, match="is no run to go on with: leave out --resume"):
        Run.start("not_a_run", Settings(), resume=True)
    assert [path.name for path in (outputs / "not_a_run").iterdir()] == ["photo.jpg"]


def test_what_is_not_the_runs_own_stays(outputs, capsys):
    run = Run.start("runs/with_notes", Settings())
    run.save_predictions("valid", ROWS)
    run.log(epoch=0)
    (run.folder / "thesis.txt").write_text("precious", encoding="utf-8")
    Run.start("runs/with_notes", Settings(lr=1), overwrite=True)
    assert sorted(path.name for path in run.folder.iterdir()) == ["run.json", "settings.yaml", "thesis.txt"]
    assert "thesis.txt is not of the run and stays" in capsys.readouterr().out


@pytest.mark.parametrize(
    "name", ["", " ", ".", "..", "../esc", "a/../../b", "-x", "~/x", "a\nb", "a:b", "a//b", "n" * 300, "embeddings/x"]
)
def test_what_is_no_name_for_a_run(outputs, name):
    before = sorted(outputs.rglob("*"))
    with pytest.raises(ValueError, match="no name for a run|too long a name for a run|a run needs a name") as refused:
        Run.start(name, Settings(), overwrite=True)
    assert len(str(refused.value)) < 300 and sorted(outputs.rglob("*")) == before


def test_a_run_lies_in_no_other(outputs):
    Run.start("runs/outer", Settings())
    with pytest.raises(FileExistsError, match="lies inside the run .*outer: choose another --run"):
        Run.start("runs/outer/predictions", Settings(), overwrite=True)
    (outputs / "runs" / "file").touch()
    with pytest.raises(FileExistsError, match="is no folder: choose another --run"):
        Run.start("runs/file", Settings(), overwrite=True)


WRITING = """
import sys
from pathlib import Path
from clipknight.training.run_folders import claim
claim(Path(sys.argv[1]))
print("writing", flush=True)
sys.stdin.readline()
"""


def test_a_run_has_one_writer(tmp_path):
    folder, source = tmp_path / "mine", str(Path(run_folders.__file__).parents[2])
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    environment = os.environ | {"PYTHONPATH": source}
    with subprocess.Popen([sys.executable, "-c", WRITING, str(folder)], **pipes, env=environment) as other:
        assert other.stdout.readline() == "writing\n"
        with pytest.raises(FileExistsError, match="another process is writing to the run .*mine"):
            Run.start(str(folder), Settings(), overwrite=True)
        other.kill()
    Run.start(str(folder), Settings(), overwrite=True)
    with pytest.raises(filelock.Timeout):
        lock_of(folder).acquire(timeout=0)


def test_an_unfinished_run_says_how_to_finish_it():
    run = Run.start("runs/begun", Settings(), "model_a")
    with pytest.raises(FileNotFoundError, match="not finished: go on with .* --run runs/begun --overwrite"):
        run.predictions("test")
    (run.folder / "last").mkdir()
    with pytest.raises(FileNotFoundError, match="not finished: go on with .* --run runs/begun --resume"):
        run.predictions("test")


def test_an_unfinished_run_that_is_read_says_so(capsys):
    run = Run.start("runs/half", Settings())
    Run.open("runs/half")
    assert "run 'runs/half': it is not finished: go on with" in capsys.readouterr().err
    run.finish()
    Run.open("runs/half")
    assert capsys.readouterr().err == ""
    (run.folder / "run.json").write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match="run.json is no JSON .*: run 'runs/half' must be made again"):
        Run.open("runs/half")


def test_resuming_goes_on_with_the_same_settings_only():
    run = Run.start("runs/resumed", Settings())
    run.log(epoch=0)
    run.finish()
    again = Run.start("runs/resumed", Settings(workers=0, resume=True), resume=True)
    assert len(again.events()) == 1 and again.finished and again.settings["workers"] == 0
    with pytest.raises(ValueError, match="started with other settings: data 'd' -> 'e'; lr 1e-05 -> 0.1"):
        Run.start("runs/resumed", Settings(data="e", lr=0.1), resume=True)
    assert run.settings["data"] == "d"


def test_a_setting_newer_than_the_run_had_its_default():
    @dataclass(frozen=True, kw_only=True)
    class Newer(Settings):
        sizes: list[int] = field(default_factory=list)

    run = Run.start("runs/older", Settings())
    assert run.made_with(Newer()) and not run.made_with(Newer(sizes=[64]))


def test_an_unknown_run_lists_those_there_are():
    Run.start("runs/known", Settings())
    with pytest.raises(FileNotFoundError, match="no run 'knwon' in .*runs/known"):
        Run.open("knwon")


@pytest.mark.parametrize(
    "file, text, wrong",
    [
        ("run.json", '{"kind": 5}', "run.json has kind: 5, not text"),
        ("run.json", '{"finished": 1}', "run.json has finished: 1, not true or false"),
        ("run.json", "[]", "run.json holds a list"),
        ("settings.yaml", "encoder: [1]", r"settings.yaml has encoder: \[1\], not text"),
        ("settings.yaml", "lr: 1.0", "settings.yaml says nothing of 'data'"),
    ],
)
def test_what_a_run_says_is_checked(outputs, file, text, wrong):
    run = Run.start("runs/said", Settings(), "model_a", overwrite=True)
    (run.folder / file).write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=f"{wrong}.*: run 'runs/said' must be made again, with --overwrite"):
        run.finished, run.settings["data"]


def test_events(outputs):
    run = Run.start("runs/events", Settings())
    assert run.events() == []
    for epoch in (-1, 0, 1, 2):
        run.log(epoch=epoch, score=epoch / 3)
    run.log(note="no epoch")
    assert [e.get("epoch") for e in run.events()] == [-1, 0, 1, 2, None] and run.events()[2]["score"] == 1 / 3
    run.forget_events_after(epoch=0)
    assert [e.get("epoch") for e in run.events()] == [-1, 0, None]


def test_a_line_cut_by_a_kill_is_left_out():
    run = Run.start("runs/cut", Settings())
    run.log(epoch=0)
    with open(run.folder / "metrics.jsonl", "a", encoding="utf-8") as file:
        file.write('{"time": 1, "epo')
    assert [e["epoch"] for e in run.events()] == [0]
    run.log(epoch=1)
    assert [e["epoch"] for e in run.events()] == [0, 1]


def test_predictions():
    run = Run.start("runs/predicting", Settings())
    run.finish()
    with pytest.raises(
        FileNotFoundError, match="no predictions for 'test': python src/predict.py --run runs/predicting"
    ):
        run.predictions("test")
    run.save_predictions("test", ROWS)
    assert run.predictions("test").ids.tolist() == ["a", "b"]


def test_a_run_that_predicts_nothing():
    run = Run.start("runs/mute", Settings())
    with pytest.raises(ValueError, match="'runs/mute' predicts nothing"):
        load_predictor(run)


def test_only_known_kinds_are_loaded_as_predictors():
    run = Run.start("runs/foreign", Settings(), "os:getcwd")
    with pytest.raises(ValueError, match="predicts nothing"):
        load_predictor(run)


def test_a_failed_write_keeps_the_info(monkeypatch):
    run = Run.start("runs/kept", Settings())
    monkeypatch.setattr("clipknight.files.os.replace", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run.finish(avg_cos=1)
    monkeypatch.undo()
    assert json.loads((run.folder / "run.json").read_text(encoding="utf-8"))["finished"] is False
