"""The Kaggle kit: its notebook runs in a tree laid out like Kaggle's, on the public pictures and on hidden ones."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import kaggle_kit
from clipknight.ensemble.submission import read_submission
from clipknight.packing import kaggle_kit as parts
from clipknight.paths import ROOT

import nbformat
import numpy as np
import pandas as pd
import pytest


@pytest.fixture(scope="module")
def kit(image_run, tmp_path_factory) -> Path:
    """Without wheels, which the registry has: all that they hold is installed here."""
    out = tmp_path_factory.mktemp("kits") / "kaggle"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(parts, "_pip", lambda *words: None)
        words = [f"--run={image_run}", f"--out={out}", "--user=somebody", "--device=cpu"]
        assert kaggle_kit.main(words) == out
    return out


def write_competition(folder: Path, pictures: list[Path], dim: int, missing: tuple[str, ...] = ()) -> list[str]:
    """The competition as it is mounted: images/, sample_submission.csv and, of the public ones alone, prompts.csv."""
    (folder / "images").mkdir(parents=True)
    ids = [f"{number:09x}" for number in range(len(pictures))]
    for name, picture in zip(ids, pictures, strict=True):
        shutil.copyfile(picture, folder / "images" / f"{name}.png")
    asked = [*ids, *missing]
    rows = [f"{name}_{number},0.0" for name in asked for number in range(dim)]
    (folder / "sample_submission.csv").write_text("\n".join(["imgId_eId,val", *rows, ""]), encoding="utf-8")
    if len(pictures) == 7:
        prompts = pd.DataFrame({"imgId": ids, "prompt": "a red picture"})
        prompts.to_csv(folder / "prompts.csv", index=False)
    return asked


@pytest.fixture
def mounted(kit, coloured, tmp_path, monkeypatch):
    """The kit's dataset where Kaggle mounts it, and the pictures of the colours in order."""
    shutil.copytree(kit / "dataset", tmp_path / "input" / "clipknight-b")
    (tmp_path / "working").mkdir()
    monkeypatch.setenv("KAGGLE_FOLDER", str(tmp_path))
    for name in ("CLIPKNIGHT_CACHE", "HF_HUB_OFFLINE"):  # which the notebook sets: undone afterwards
        monkeypatch.setenv(name, os.environ.get(name, ""))
    monkeypatch.setenv("CLIPKNIGHT_OUTPUTS", str(tmp_path / "none"))
    monkeypatch.setattr(subprocess, "run", lambda words, check: None)  # installs the project's own wheel
    return tmp_path, sorted((coloured / "Images").glob("*.png"))


def run_cells(kit: Path, capsys) -> str:
    """What the notebook prints, all cells run one after the other."""
    names = {}
    for cell in nbformat.read(kit / "kernel" / "inference.ipynb", as_version=4).cells:
        if cell.cell_type == "code":
            exec(compile(cell.source, "inference.ipynb", "exec"), names)
    return capsys.readouterr().out


def state(folder: Path) -> dict:
    return {str(f.relative_to(folder)): (f.stat().st_mtime_ns, f.stat().st_size) for f in folder.rglob("*")}


def test_on_the_seven_public_pictures_without_a_network(kit, mounted, no_internet, capsys):
    folder, pictures = mounted
    asked = write_competition(folder / "input" / "stable-diffusion-image-to-prompts", pictures[:7], 24)
    before = state(folder / "input")
    assert "7 images in" in run_cells(kit, capsys)
    written = read_submission(folder / "working" / "submission.csv")
    assert written.ids.tolist() == asked and written.dim == 24
    assert state(folder / "input") == before and not (folder / "none").exists()


def test_unchanged_on_hidden_ones_with_some_that_cannot_be_read(kit, mounted, no_internet, capsys):
    folder, pictures = mounted
    competition = folder / "input" / "competitions" / "stable-diffusion-image-to-prompts"
    asked = write_competition(competition, pictures[:12], 24, missing=("fffffffff",))
    (competition / "images" / f"{asked[3]}.png").write_bytes(b"no picture")
    assert "13 images in" in (printed := run_cells(kit, capsys)) and "1 missing and 1 unreadable ones" in printed
    written = read_submission(folder / "working" / "submission.csv")
    assert written.ids.tolist() == asked
    rest = np.delete(written.vectors, [3, 12], axis=0).mean(axis=0)
    np.testing.assert_allclose(written.vectors[3], rest / np.linalg.norm(rest), atol=1e-5)
    np.testing.assert_array_equal(written.vectors[3], written.vectors[12])


def test_what_kaggle_reads_of_it(kit):
    dataset, kernel = (
        json.loads((kit / name).read_text(encoding="utf-8"))
        for name in ("dataset/dataset-metadata.json", "kernel/kernel-metadata.json")
    )
    assert dataset["id"] == kernel["dataset_sources"][0] == "somebody/clipknight-b"
    assert kernel["competition_sources"] == ["stable-diffusion-image-to-prompts"] and not kernel["enable_internet"]
    assert (kit / "kernel" / kernel["code_file"]).is_file() and kernel["enable_gpu"]
    assert all(6 <= len(about["title"]) <= 50 for about in (dataset, kernel))


def test_what_comes_next_is_what_the_document_says(tmp_path):
    command = kaggle_kit.next_step("somebody", Path("outputs/kaggle"))
    assert command in (ROOT / "docs" / "kaggle.md").read_text(encoding="utf-8") and command in kaggle_kit.__doc__
    assert "KAGGLE_USER=" in kaggle_kit.next_step(kaggle_kit.Settings().user, tmp_path)


def test_no_wheel_replaces_what_kaggle_has():
    wheels = {name.lower() for name in parts.LACKING}
    assert not wheels & {"torch", "torchvision", "numpy", "pandas", "scikit-learn", "scipy", "transformers", "timm"}


def test_no_kit_of_what_predicts_nothing_nor_over_other_files(knight_run, image_run, tmp_path):
    with pytest.raises(SystemExit, match="predicts nothing that could be submitted"):
        kaggle_kit.main([f"--run={knight_run}", f"--out={tmp_path / 'kit'}"])
    (tmp_path / "letter.txt").write_text("dear", encoding="utf-8")
    with pytest.raises(SystemExit, match="is there and is no kit"):
        kaggle_kit.main([f"--run={image_run}", f"--out={tmp_path}"])


@pytest.mark.slow
def test_in_a_fresh_environment_from_the_attached_wheels_alone(image_run, coloured, tmp_path):
    """With this machine's torch and its like, as Kaggle has its own: what the kit attaches is all that is added."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    kit = kaggle_kit.main([f"--run={image_run}", f"--out={tmp_path / 'kit'}", "--device=cpu", f"--python={version}"])
    shutil.copytree(kit / "dataset", tmp_path / "kaggle" / "input" / "clipknight-b")
    pictures = sorted((coloured / "Images").glob("*.png"))
    write_competition(tmp_path / "kaggle" / "input" / "image-to-prompts", pictures[:7], 24)
    (tmp_path / "kaggle" / "working").mkdir()
    python = os.environ.get("KAGGLE_LIKE_PYTHON")  # an environment with the versions of Kaggle's image
    if not python:
        pytest.skip("KAGGLE_LIKE_PYTHON names no python with the packages of docs/kaggle.md")
    inputs = tmp_path / "kaggle" / "input"
    sealed = f"ip link set lo up; mount --bind {inputs} {inputs}; mount -o remount,ro,bind {inputs}; "
    run = f"{python} -m jupyter execute --output={tmp_path / 'out.ipynb'} {kit / 'kernel' / 'inference.ipynb'}"
    environment = {**os.environ, "KAGGLE_FOLDER": str(tmp_path / "kaggle"), "PYTHONPATH": ""}
    done = subprocess.run(["unshare", "-n", "-m", "sh", "-c", sealed + run], env=environment, cwd=tmp_path)
    assert done.returncode == 0
    assert len(read_submission(tmp_path / "kaggle" / "working" / "submission.csv")) == 7
