"""Runs that predict, by kind; those that version 0.3.0 made still do (tests/runs_of_0.3.0)."""

import shutil
from pathlib import Path

import blend
import clipknight.embedding.clip as clip
from clipknight.embedding.captioned_dataset import CaptionedDataset
from clipknight.ensemble.predictors import load_predictor
from clipknight.training.runs import Run

import numpy as np
import pytest

OLD = Path(__file__).parents[1] / "runs_of_0.3.0"
KINDS = {"a": "model_a", "b": "model_b", "ensemble": "blend", "bands": "bands"}


@pytest.fixture(scope="module")
def old_runs(outputs, coloured, tiny_clip, colour_encoder) -> Path:
    """The folder old/ among the runs, with this machine's paths of the dataset and the encoders they were made with."""
    folder = shutil.copytree(OLD, outputs / "old")
    paths = {"coloured": coloured, "target": colour_encoder, "clip": tiny_clip}
    for file in [*folder.rglob("*.yaml"), *folder.rglob("*.json")]:
        text = file.read_text(encoding="utf-8")
        for name, path in paths.items():
            text = text.replace(f"$FOLDER/{name}", path.as_posix())
        file.write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize("name, kind", KINDS.items())
def test_runs_of_version_0_3_0_predict_what_they_did(old_runs, coloured, colour_encoder, name, kind):
    run = Run.open(f"old/{name}")
    assert run.kind == kind and "kind" not in run.info
    test = CaptionedDataset.read(coloured, str(colour_encoder), "cpu").dataset.split("test")
    rows = load_predictor(run, "cpu").predict(test, workers=0)
    saved = run.predictions("test")
    np.testing.assert_allclose(rows.aligned_to(saved.ids).vectors, saved.vectors, atol=2e-6)


def test_runs_of_version_0_3_0_are_members_of_a_new_blend(old_runs, coloured, colour_encoder):
    words = [f"--data={coloured}", f"--target_encoder={colour_encoder}", "--device=cpu", "--members", "old/a", "old/b"]
    score = blend.main([*words, "--run=old/blended_anew", "--weights", "0.7", "0.3"])
    assert score == pytest.approx(Run.open("old/ensemble").info["summary"]["avg_cos"], abs=1e-6)


def test_a_run_of_no_kind_predicts_nothing(old_runs):
    shutil.copytree(old_runs / "a", old_runs / "mute")
    info = (old_runs / "mute" / "run.json").read_text(encoding="utf-8")
    (old_runs / "mute" / "run.json").write_text(
        info.replace("clipknight.model_a:ModelAPredictor", "os:getcwd"), encoding="utf-8"
    )
    with pytest.raises(ValueError, match="'old/mute' predicts nothing; runs that do are of the kinds model_a, model_b"):
        load_predictor(Run.open("old/mute"))


def test_members_that_stand_on_one_encoder_load_it_once(old_runs, tiny_clip, monkeypatch):
    shutil.copytree(old_runs / "b", old_runs / "twin")
    shutil.copytree(old_runs / "ensemble", old_runs / "twins")
    file = old_runs / "twins" / "run.json"
    file.write_text(file.read_text(encoding="utf-8").replace('"old/a"', '"old/twin"'), encoding="utf-8")
    loaded = []
    load = clip._load
    monkeypatch.setattr(clip, "_load", lambda *words: loaded.append(words) or load(*words))
    first, second = load_predictor(Run.open("old/twins"), "cpu").members.values()
    assert first.encoder.model is second.encoder.model and len(loaded) == 1
    assert clip.load_clip(str(tiny_clip), "cpu") is not clip.load_clip(str(tiny_clip), "cpu")  # either may be trained
