"""The notebooks run from top to bottom on the small sample that they draw, with the real offline encoder.

One after the other in one kernel, which forgets all names in between: what was imported and encoded once stays. They
are committed as `make notebooks` executes them, with outputs whose scores come out again.
"""

import os
import re
from pathlib import Path

import make_sample

import nbformat
import numpy as np
import pytest
from jupyter_client import KernelManager
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell

FOLDER = Path(__file__).parents[1] / "notebooks"
MADE = {
    "01_quickstart": "quickstart/submission.csv",
    "02_ensemble": "quickstart/members.png",
    "03_captions": "captions/knight/photos.html",
}
PICTURES = {"01_quickstart": 3, "02_ensemble": 8, "03_captions": 3}
# Of a score: machines round otherwise, learn a little otherwise from it, and then say other captions.
TOLERANCES = {"01_quickstart": 0.03, "02_ensemble": 0.03, "03_captions": 0.25}
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


@pytest.fixture(scope="module")
def outputs_and_kernel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("notebooks")
    make_sample.main(["--out", str(folder / "sample"), "--images", "160", "--clips", "0"])
    paths = {"CLIPKNIGHT_DATA": str(folder / "sample"), "CLIPKNIGHT_OUTPUTS": str(folder / "outputs")}
    kernel = KernelManager(kernel_name="python3")
    kernel.start_kernel(env={**os.environ, **paths, "OMP_NUM_THREADS": "1"}, cwd=str(FOLDER))
    yield folder / "outputs", kernel
    kernel.shutdown_kernel(now=True)


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path, outputs_and_kernel):
    outputs, kernel = outputs_and_kernel
    notebook = nbformat.read(path, as_version=4)
    committed = scores(notebook)
    notebook.cells.insert(0, new_code_cell("%reset -f"))
    NotebookClient(notebook, km=kernel, timeout=600).execute()
    assert (outputs / MADE[path.stem]).is_file()
    assert pictures(notebook) == PICTURES[path.stem]
    np.testing.assert_allclose(scores(notebook), committed, atol=TOLERANCES[path.stem])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_cells_only_call_the_package(path):
    cells = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert cells
    assert not any("optimizer" in source or "def " in source for source in cells)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_committed_executed(path):
    """From top to bottom, with its pictures, and with nothing of the machine that did it."""
    notebook = nbformat.read(path, as_version=4)
    counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))
    assert pictures(notebook) == PICTURES[path.stem] and len(scores(notebook)) >= 5
    assert not any(output.output_type == "error" or output.get("name") == "stderr" for output in outputs_of(notebook))
    assert not re.search(r"(?<![\w.])/\w+/", "".join(map(text_of, outputs_of(notebook))))
    assert path.stat().st_size < 400_000


def outputs_of(notebook) -> list:
    return [output for cell in notebook.cells for output in cell.get("outputs", ())]


def pictures(notebook) -> int:
    return sum("image/png" in output.get("data", {}) for output in outputs_of(notebook))


def text_of(output) -> str:
    return output.get("text", "") + output.get("data", {}).get("text/plain", "")


def scores(notebook) -> list[float]:
    """Every number with a fraction that the cells give back, but for SPICE's, which needs what few have."""
    given = [text_of(output) for output in outputs_of(notebook) if output.output_type == "execute_result"]
    lines = [line for text in given for line in text.splitlines() if "SPICE" not in line]
    return [float(number) for line in lines for number in re.findall(r"-?\b\d+\.\d+\b", line)]
