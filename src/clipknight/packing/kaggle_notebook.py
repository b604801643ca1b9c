"""The notebook of the Kaggle kit: it installs from attached wheels, without internet, and writes the submission."""

from pathlib import Path

ABOUT = """# Inference with clipknight

Runs without internet, on the competition's seven public images and unchanged on its hidden ones. Attached are this
kit's dataset (a pack of the run, and wheels) and the competition. Nothing of Kaggle's own packages is replaced."""
INSTALL = """import os
import subprocess
import sys
from importlib import invalidate_caches
from importlib.metadata import distributions
from pathlib import Path

KAGGLE = Path(os.environ.get("KAGGLE_FOLDER", "/kaggle"))
manifest, = (file for depth in ("*", "*/*/*") for file in KAGGLE.glob(f"input/{depth}/pack/pack.json"))
kit = manifest.parents[1]


def named(text):
    return text.lower().replace("_", "-")


there = {named(distribution.metadata["Name"]) for distribution in distributions()}
wheels = [str(w) for w in sorted(kit.glob("wheels/*.whl")) if named(w.name.split("-")[0]) not in there]
if wheels:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*pip, "--find-links", str(kit / "wheels"), *wheels], check=True)
    invalidate_caches()
print(f"installed {len(wheels)} wheels from {kit}")"""
PREDICT = """os.environ["CLIPKNIGHT_CACHE"] = str(KAGGLE / "temp" / "clipknight")  # inputs cannot be written
os.environ["HF_HUB_OFFLINE"] = "1"

from clipknight.packing.kaggle_session import find_competition, write_kaggle_submission
from clipknight.preparation import prepare_process

prepare_process()
submission = KAGGLE / "working" / "submission.csv"
competition = find_competition(KAGGLE / "input")
print(write_kaggle_submission(kit / "pack", competition, submission, workers=os.cpu_count()))"""
SHOW = """import pandas as pd

pd.read_csv(KAGGLE / "working" / "submission.csv", nrows=5)"""


def write_inference_notebook(file: Path) -> None:
    """Write it; ModuleNotFoundError without nbformat, of the extra `notebooks`."""
    import nbformat
    from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

    cells = [new_markdown_cell(ABOUT), *map(new_code_cell, (INSTALL, PREDICT, SHOW))]
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"  # or each time another
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernel}), file)
