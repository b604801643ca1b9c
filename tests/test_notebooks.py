"""The notebooks run from top to bottom on a small synthetic sample, with the real offline encoder.

One after the other in one kernel that forgets all names in between: what was imported and encoded once stays.
"""

import os
from pathlib import Path

import make_sample

import nbformat
import pytest
from jupyter_client import KernelManager
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell

FOLDER = Path(__file__).parents[1] / "notebooks"
MADE = {
    "01_quickstart": "quickstart/ensemble/submission.csv",
    "02_ensemble": "quickstart/members.png",
    "03_captions": "captions/knight/photos.html",
}
PICTURES = {"01_quickstart": 2, "02_ensemble": 8, "03_captions": 3}
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


@pytest.fixture(scope="module")
def outputs_and_kernel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("notebooks")
    make_sample.main(["--out", str(folder / "sample"), "--images", "80", "--clips", "1"])
    paths = {"CLIPKNIGHT_DATA": str(folder / "sample"), "CLIPKNIGHT_OUTPUTS": str(folder / "outputs")}
    kernel = KernelManager(kernel_name="python3")
    kernel.start_kernel(env={**os.environ, **paths, "OMP_NUM_THREADS": "1"}, cwd=str(FOLDER))
    yield folder / "outputs", kernel
    kernel.shutdown_kernel(now=True)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path, outputs_and_kernel):
    outputs, kernel = outputs_and_kernel
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.insert(0, new_code_cell("%reset -f"))
    NotebookClient(notebook, km=kernel, timeout=600).execute()
    assert (outputs / MADE[path.stem]).is_file()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", ()) if "data" in output]
    assert sum("image/png" in output["data"] for output in shown) == PICTURES[path.stem]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_cells_only_call_the_package(path):
    cells = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert cells
    assert not any("optimizer" in source or "def " in source for source in cells)
