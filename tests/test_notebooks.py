"""The notebooks run from top to bottom on a small synthetic sample, with the real offline encoder.

One after the other in this process, which has imported all that they import: a kernel would take as long to start as
they take. Of METEOR's tables and of the photographs as little is read as shows that the cells work.
"""

from pathlib import Path

import make_sample
from clipknight.data import sample_photos
from clipknight.scoring import java_metrics

import matplotlib
import nbformat
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from traitlets.config import Config

FOLDER = Path(__file__).parents[1] / "notebooks"
MADE = {
    "01_quickstart": "quickstart/ensemble/submission.csv",
    "02_ensemble": "quickstart/members.png",
    "03_captions": "captions/knight/photos.html",
}
PICTURES = {"01_quickstart": 2, "02_ensemble": 8, "03_captions": 3}
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


class Shell(InteractiveShell):
    """What a kernel runs cells in."""

    def enable_gui(self, gui=None):
        pass

    def init_sys_modules(self):
        pass  # __main__ stays what runs the tests


def few_for_training(count: int, seed: int) -> list[str]:
    return ["valid", "test", "train", "train", "train", "train"] * (count // 6)


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("notebooks")
    with pytest.MonkeyPatch.context() as patched, matplotlib.rc_context():
        patched.setattr(make_sample, "split", few_for_training)
        make_sample.main(["--out", str(folder / "sample"), "--images", "48", "--clips", "0"])
        patched.setenv("CLIPKNIGHT_DATA", str(folder / "sample"))
        patched.setenv("CLIPKNIGHT_OUTPUTS", str(folder / "outputs"))
        patched.setattr(sample_photos, "PHOTOS", ("astronaut.png", "coffee.png"))
        patched.setattr(java_metrics, "meteor", lambda candidates, references: 0.5)
        patched.setenv("IPYTHONDIR", str(folder / "ipython"))
        patched.chdir(FOLDER)
        yield folder / "outputs"
        matplotlib.pyplot.close("all")
        Shell.clear_instance()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path, outputs):
    shell, shown = Shell.instance(config=Config({"HistoryManager": {"enabled": False}})), []
    shell.reset()
    shell.run_line_magic("matplotlib", "inline")  # as in a kernel
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            with capture_output() as captured:
                result = shell.run_cell(cell.source)
            result.raise_error()
            shown += captured.outputs
    assert (outputs / MADE[path.stem]).is_file()
    assert sum("image/png" in output.data for output in shown) == PICTURES[path.stem]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_cells_only_call_the_package(path):
    cells = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert cells
    assert not any("optimizer" in source or "def " in source for source in cells)
