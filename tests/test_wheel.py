"""The wheel, built from the source distribution: it captions a photo with no checkout near and no network."""

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import caption
from clipknight.paths import ROOT

import pandas as pd
import pytest

SOURCES = ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE", "src", "input/models/starter")
BUILD = "import sys; from setuptools import build_meta; print(getattr(build_meta, sys.argv[1])(sys.argv[2]))"
NO_NETWORK = """
import socket

pytestmark = pytest.mark.slow

def refuse(*args, **kwargs):
    raise OSError("network is unreachable")

socket.create_connection = socket.getaddrinfo = socket.socket.connect = refuse
"""
OURS = ("CLIPKNIGHT_OUTPUTS", "CLIPKNIGHT_CACHE", "HF_HUB_OFFLINE", "PYTHONPATH")


def run(*words, cwd: Path, **environment) -> str:
    """What a command prints; the project is found only where `environment` says."""
    kept = {name: value for name, value in os.environ.items() if name not in OURS}
    done = subprocess.run(
        [str(word) for word in words], cwd=cwd, env=kept | environment, capture_output=True, text=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def built(kind: str, source: Path, folder: Path) -> Path:
    """The file that setuptools makes of `source`: as pip does it, in the environment of the tests."""
    folder.mkdir()
    return folder / run(sys.executable, "-c", BUILD, kind, folder, cwd=source).splitlines()[-1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """A folder that holds the wheel, as installed, and nothing else."""
    base = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:  # building leaves files beside the sources
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        (base / "checkout" / name).parent.mkdir(parents=True, exist_ok=True)
        copy(ROOT / name, base / "checkout" / name)
    with tarfile.open(built("build_sdist", base / "checkout", base / "sdist")) as archive:
        archive.extractall(base / "unpacked", filter="data")
    shutil.rmtree(base / "checkout")
    wheel = built("build_wheel", next((base / "unpacked").iterdir()), base / "wheels")
    options = ("--no-deps", "--no-index", "--no-compile", "--quiet", "--disable-pip-version-check")
    run(sys.executable, "-m", "pip", "install", *options, "--target", base / "site", wheel, cwd=base)
    shutil.rmtree(base / "unpacked")
    (base / "site" / "sitecustomize.py").write_text(NO_NETWORK, encoding="utf-8")
    return base / "site"


def clipknight(installed: Path, *words, cwd: Path) -> str:
    command = shutil.which("clipknight", path=os.pathsep.join([str(installed / "bin"), str(installed / "Scripts")]))
    return run(command, *words, cwd=cwd, PYTHONPATH=str(installed))


def test_it_has_every_recipe(installed, tmp_path):
    listed = clipknight(installed, cwd=tmp_path)
    assert all(f"\n  {file.stem} " in listed for file in ROOT.glob("src/*.py"))


def test_it_captions_a_photo_as_the_checkout_does(installed, tmp_path):
    shutil.copy(ROOT / "docs" / "pictures" / "photographer.jpg", tmp_path / "photo.jpg")
    printed = clipknight(installed, "caption", "photo.jpg", "--workers", "0", cwd=tmp_path)
    table = pd.read_csv(tmp_path / "outputs" / "captions.csv")  # outputs/ is made where the command is called
    assert f"photo.jpg: {table['caption'][0]} (confidence 0." in printed and str(tmp_path / "outputs") in printed
    there = caption.main([str(tmp_path / "photo.jpg"), "--workers=0", f"--out={tmp_path / 'there.csv'}"])
    assert there["caption"].tolist() == table["caption"].tolist() and len(table["caption"][0]) > 10
