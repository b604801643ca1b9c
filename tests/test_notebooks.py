"""The notebooks run from top to bottom on a small synthetic sample, with the real offline encoder."""

from pathlib import Path

import make_sample

import nbformat
import pytest
from nbclient import NotebookClient

MADE = {"01_quickstart": "quickstart/ensemble/submission.csv", "03_captions": "captions/knight/photos.html"}
NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path, tmp_path, monkeypatch):
    make_sample.main(["--out", str(tmp_path / "sample"), "--images", "80", "--clips", "1"])
    monkeypatch.setenv("CLIPKNIGHT_DATA", str(tmp_path / "sample"))
    monkeypatch.setenv("CLIPKNIGHT_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(path.parent)}}).execute()
    assert (tmp_path / "outputs" / MADE[path.stem]).is_file()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_cells_only_call_the_package(path):
    cells = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert cells
    assert not any("optimizer" in source or "def " in source for source in cells)
