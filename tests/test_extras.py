"""What is missing where only the core is installed: features say in one line which extra they need."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import embed
import make_sample
import score
import train_knight
from clipknight.data.caption_augmentation import augmented_caption
from clipknight.data.videos import read_frames
from clipknight.errors import EXTRAS, user_errors
from clipknight.methods.clms import common_nouns
from clipknight.plots.ensemble_page import learning_curves

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DISTRIBUTIONS = {"skimage": "scikit-image"}  # where a package is not named as it is imported
SCRIPTS = [*sorted(ROOT.glob("src/studies/*.py")), *sorted(ROOT.glob("src/*.py"))]  # the first one imports the package


def names(requirements) -> set[str]:
    return {re.match(r"[\w.-]+", text)[0].lower() for text in requirements}


def test_each_package_is_in_its_extra_and_not_in_the_core():
    core = names(PROJECT["dependencies"])
    for package, extra in EXTRAS.items():
        name = DISTRIBUTIONS.get(package, package)
        assert name in names(PROJECT["optional-dependencies"][extra]) and name not in core


def test_requirements_pin_all_of_them():
    pinned = names((ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()[1:])
    optional = {extra: names(listed) for extra, listed in PROJECT["optional-dependencies"].items()}
    extras = set().union(*optional.values()) - {"clipknight"}
    # Stores that no command here asks; a page, which takes pillow 12; a second backend; a cluster's engine.
    extras -= optional["remote"] | optional["page"] | optional["openvino"] | optional["ray"]
    assert names(PROJECT["dependencies"]) | extras <= pinned


@pytest.mark.slow
def test_scripts_start_with_the_core_alone_and_studies_from_anywhere(tmp_path):
    code = f"""
import runpy, sys
from importlib.machinery import PathFinder
from pathlib import Path

class Core(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in {set(EXTRAS)!r} else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Core
for script in {[str(path) for path in SCRIPTS]!r}:
    sys.path.insert(0, str(Path(script).parent))  # as `python script` does
    runpy.run_path(script)
    assert {str(ROOT / "src")!r} in sys.path, script
    sys.path[:] = [path for path in sys.path if not path.startswith({str(ROOT / "src")!r})]
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def of_main(work):
    """What the user of a script sees of an error in `work`."""

    @user_errors
    def main(argv=None):
        work()

    return main


@pytest.fixture
def video(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"anything")
    return str(path)


@pytest.fixture
def candidates(tmp_path):
    path = tmp_path / "captions.csv"
    path.write_text("image,caption\na.jpg,a red picture\n", encoding="utf-8")
    return [f"--candidates={path}", f"--references={path}"]


@pytest.mark.parametrize("package", ["textblob", "lemminflect"])
def test_language(missing, package):
    missing(package, "language", of_main(lambda: augmented_caption("a small dog runs", 1, 0)))
    missing(package, "language", of_main(lambda: common_nouns(["a small dog runs"], 5)))


def test_metrics(missing, candidates):
    missing("pycocoevalcap", "metrics", lambda: score.main(["captions", *candidates]))


def test_knight_that_is_judged_by_metrics_says_so_before_any_work(missing, coloured):
    words = [f"--data={coloured}", "--from=nowhere", "--run=extras/knight"]
    missing("pycocoevalcap", "metrics", lambda: train_knight.main(words))


def test_ray_is_missed_before_any_work(missing):
    missing("ray", "ray", lambda: embed.main(["--data=nowhere", "--engine=ray"]))


def test_video(missing, video):
    missing("av", "video", of_main(lambda: read_frames(video, 1)))


def test_sample(missing, tmp_path):
    words = [f"--out={tmp_path / 'sample'}", "--images=10", "--clips=1"]
    missing("av", "video", lambda: make_sample.main(words))
    assert not (tmp_path / "sample").exists()


def test_plots(missing):
    missing("matplotlib", "plots", of_main(lambda: learning_curves([])))


@pytest.fixture
def missing(monkeypatch):
    """Whether `work` ends with the line that names the extra, where `package` is not installed."""

    def check(package, extra, work):
        for name in [name for name in sys.modules if name.partition(".")[0] == package]:
            monkeypatch.setitem(sys.modules, name, None)
        monkeypatch.setitem(sys.modules, package, None)
        for name in ("clipknight.scoring.java_metrics",):  # imports its extra at its top
            monkeypatch.delitem(sys.modules, name, raising=False)
        line = f'error: this needs {package}, which is not installed: pip install "clipknight[{extra}]"'
        with pytest.raises(SystemExit, match=re.escape(line)):
            work()

    return check
