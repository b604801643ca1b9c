"""The Kaggle kit: a dataset folder with a pack and the wheels that Kaggle's image lacks, and a kernel folder."""

import json
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from clipknight.packing.kaggle_notebook import write_inference_notebook
from clipknight.packs import read_manifest
from clipknight.paths import ROOT

# What Kaggle's image lacks of what predicting imports; what it has stays as it is there (docs/kaggle.md).
LACKING = ("faiss-cpu", "ftfy", "jsonargparse", "open_clip_torch", "typeshed-client")
PROJECT = ("pyproject.toml", "README.md", "LICENSE", "src")  # what the project's wheel is made of
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64", "linux_x86_64")


def write_metadata(out: Path, user: str, slug: str, competition: str) -> None:
    """The two metadata files that `kaggle datasets create` and `kaggle kernels push` read, and the notebook."""
    dataset = {"title": f"{slug} pack", "id": f"{user}/{slug}", "licenses": [{"name": "other"}]}
    kernel = {
        "id": f"{user}/{slug}-inference",
        "title": f"{slug} inference",
        "code_file": "inference.ipynb",
        "language": "python",
        "kernel_type": "notebook",
        "is_private": True,
        "enable_gpu": True,
        "enable_internet": False,
        "dataset_sources": [f"{user}/{slug}"],
        "competition_sources": [competition],
        "kernel_sources": [],
        "model_sources": [],
    }
    (out / "kernel").mkdir()
    for file, about in (("dataset/dataset-metadata.json", dataset), ("kernel/kernel-metadata.json", kernel)):
        (out / file).write_text(json.dumps(about, indent=1), encoding="utf-8")
    write_inference_notebook(out / "kernel" / "inference.ipynb")


def write_wheels(pack: Path, folder: Path, python: str) -> list[str]:
    """Put the project's wheel and those that the pack needs on Kaggle into a new `folder`; their names.

    FileNotFoundError without the project's source, ConnectionError where the package registry cannot be reached.
    """
    if not (ROOT / "pyproject.toml").is_file():
        raise FileNotFoundError(f"{ROOT} is no checkout of clipknight, of which a wheel could be made: run it from one")
    folder.mkdir()
    wanted = [*LACKING, *read_manifest(pack).get("packages", {})]
    pinned = [f"{name}=={version(name)}" for name in wanted]  # as they are here, where the pack was made
    platforms = [f"--platform={platform}" for platform in PLATFORMS]
    target = [f"--python-version={python}", "--implementation=cp", "--only-binary=:all:", *platforms]
    with tempfile.TemporaryDirectory() as source:  # building leaves files beside the sources
        for name in PROJECT:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
            copy(ROOT / name, Path(source) / name)
        _pip("wheel", "--no-deps", f"--wheel-dir={folder}", source)
    _pip("download", "--no-deps", *target, f"--dest={folder}", *pinned)
    return sorted(file.name for file in folder.iterdir())


def _pip(*words: str) -> None:
    command = [sys.executable, "-m", "pip", *words, "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        why = next((line for line in reversed(done.stderr.splitlines()) if "ERROR" in line), done.stderr[-200:])
        raise ConnectionError(f"pip {words[0]} failed ({why.strip()[:200]}): is the package registry within reach?")
