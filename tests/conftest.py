"""What several test files share. Fakes are files: see tiny_models."""

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # fast beside other work, and the same sums everywhere

import clipknight  # noqa: E402, F401, first: torchvision, which others below import, needs its guard

# Tests never touch the project's own outputs/.
OUTPUTS = Path(tempfile.mkdtemp(prefix="clipknight-tests-"))
os.environ["CLIPKNIGHT_OUTPUTS"] = str(OUTPUTS)
atexit.register(shutil.rmtree, OUTPUTS, ignore_errors=True)

from clipknight.messages import script_has  # noqa: E402
from clipknight.training import settings as training_settings  # noqa: E402

import filelock  # noqa: E402
import joblib  # noqa: E402
import pytest  # noqa: E402
import tiny_models  # noqa: E402
import torch  # noqa: E402

os.fsync = lambda handle: None  # no test pulls the plug; on a busy disk every sync costs seconds
torch.set_num_threads(1)


def pytest_collection_modifyitems(items):
    """The longest file first, so that all workers end at about the same time."""
    items.sort(key=lambda item: item.path.name != "test_notebooks.py")


@pytest.fixture(autouse=True)
def no_script_runs():
    """What a test before has parsed: messages would name the flags of that script alone."""
    script_has(None)


@pytest.fixture(autouse=True)
def seeded():
    """Weights that a test leaves to chance are the same alone, in any order and on any worker."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True, scope="session")
def followed_by_nobody():
    """No training of the tests writes for TensorBoard, whether it is installed or not; see test_tracking.py."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(training_settings, "find_spec", lambda name: None)
        yield


@pytest.fixture(autouse=True, scope="session")
def drawn_in_this_process():
    """The sample's pictures: a process of its own takes longer to start than a few of them to be drawn."""
    with joblib.parallel_config("sequential"):
        yield


@pytest.fixture(scope="session")
def outputs() -> Path:
    """Stands for outputs/ in every test; give each run a name of its own."""
    return OUTPUTS


@pytest.fixture(scope="session")
def made_once(tmp_path_factory) -> Callable[[str, Callable[[Path], object]], Path]:
    """A folder of that name, filled by the first of the processes of `pytest -n` that asks for it: all share it."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "made_once"
    shared.mkdir(exist_ok=True)

    def folder(name: str, make: Callable[[Path], object]) -> Path:
        with filelock.FileLock(shared / f"{name}.lock"):
            if not (shared / f"{name}.made").exists():
                make(shared / name)
                (shared / f"{name}.made").touch()
        return shared / name

    return folder


@pytest.fixture(scope="session")
def trained_once(made_once) -> Callable[..., None]:
    """As `made_once`, for runs in outputs/, where each process has its own copy of them, and of what they encoded."""

    def copy(names: tuple[str, ...], source: Path, target: Path) -> None:
        for name in (*names, "embeddings"):
            shutil.copytree(source / name, target / name, dirs_exist_ok=True)

    def runs(names: tuple[str, ...], train: Callable[[], object]) -> None:
        def train_and_keep(folder: Path) -> None:
            train()
            copy(names, OUTPUTS, folder)

        kept = made_once(names[-1].replace("/", "-"), train_and_keep)
        if not (OUTPUTS / names[-1]).exists():
            copy(names, kept, OUTPUTS)

    return runs


@pytest.fixture(scope="session")
def tiny_clip(made_once) -> Path:
    """A random CLIP of 16 numbers a row, in open_clip's folder format."""
    return made_once("tiny-clip", tiny_models.write_clip)


@pytest.fixture(scope="session")
def colour_clip(made_once) -> Path:
    """A CLIP in which pictures, their four patches, and captions of one colour are near each other."""
    return made_once("colour-clip", tiny_models.write_colour_clip)


@pytest.fixture(scope="session")
def tiny_target_encoder(made_once) -> Path:
    """A random sentence-transformers folder of 24 numbers a row."""
    return made_once("tiny-target", tiny_models.write_target_encoder)


@pytest.fixture(scope="session")
def colour_encoder(made_once) -> Path:
    """A sentence-transformers folder in which captions of one colour are near each other."""
    return made_once("colours", tiny_models.write_colour_encoder)


@pytest.fixture(scope="session", params=["gpt2", "llama"])
def language_model(request, made_once) -> Path:
    """A random causal language model with 48 positions, in transformers' folder format."""
    return made_once(request.param, lambda folder: tiny_models.write_language_model(folder, request.param))


@pytest.fixture(scope="session")
def coloured(made_once) -> Path:
    """Plain coloured pictures in Flickr8k's layout: 24 train, 8 valid, 6 test. Not to be written to."""
    return made_once("coloured", tiny_models.write_coloured_dataset)


@pytest.fixture(scope="session")
def image_run(coloured, tiny_clip, colour_encoder, trained_once) -> str:
    """A Model B: it predicts for a picture the mean of what is said of its colour."""
    import train_b

    named = {"data": coloured, "encoder": tiny_clip, "target_encoder": colour_encoder, "run": "captioning/b"}
    options = {"n_neighbors": 4, "precision": "fp32", "device": "cpu", "workers": 0}
    argv = [f"--{name}={value}" for name, value in {**named, **options}.items()]
    trained_once(("captioning/b",), lambda: train_b.main(argv))
    return "captioning/b"


@pytest.fixture(scope="session")
def knight_argv(coloured, colour_encoder):
    """Flags of train_knight.py for a decoder of one layer; later words win."""

    def words(run: str, *more: str) -> list[str]:
        named = {"data": coloured, "target_encoder": colour_encoder, "run": f"captioning/{run}"}
        size = {"layers": 1, "width": 64, "vocabulary": 300, "max_tokens": 12}
        options = {"epochs": 2, "batch_size": 8, "precision": "fp32", "device": "cpu", "workers": 0}
        rates = {"lr_mapper": 1e-3, "lr_decoder": 3e-3, "ema": 0.9, "n_neighbors": 3}
        return [*(f"--{name}={value}" for name, value in {**named, **size, **options, **rates}.items()), *more]

    return words


@pytest.fixture(scope="session")
def knight_run(knight_argv, image_run, trained_once) -> str:
    """A Knight that says the colours of pictures: taught text alone, then judged by the embeddings of `image_run`."""
    import train_knight
    from clipknight.captioning import training as decoder_training

    def train() -> None:
        train_knight.main(knight_argv("first", "--epochs=12"))
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(decoder_training, "SCORED", ("Bleu", "ROUGE_L", "CIDEr"))  # METEOR takes seconds to start
            judged = ["--decoder=captioning/first", f"--from={image_run}", "--lr_decoder=1e-4"]
            train_knight.main(knight_argv("knight", *judged))

    trained_once(("captioning/first", "captioning/knight"), train)
    return "captioning/knight"


@pytest.fixture(scope="session")
def maccap_argv(knight_argv, colour_clip):
    """Flags of train_maccap.py for the same decoder in the space of `colour_clip`; later words win."""

    def words(run: str, *more: str) -> list[str]:
        named = {"space": colour_clip, "queries": 4, "copies": 3, "regions": 3, "new_tokens": 12, "ema": 0.5}
        shared = [word for word in knight_argv(run) if not word.startswith("--n_neighbors")]
        return [*shared, *(f"--{name}={value}" for name, value in named.items()), *more]

    return words


@pytest.fixture(scope="session")
def maccap_run(maccap_argv, colour_clip, trained_once) -> str:
    """A MacCap that says the colours of pictures: taught text alone, judged by their sub-regions."""
    import train_maccap
    from clipknight.captioning import training as decoder_training

    noise = ["--variance=0.005", "--image_variance=0.001"]
    slow = ["--lr_mapper=1e-5", "--lr_decoder=1e-5"]

    def train() -> None:
        train_maccap.main(maccap_argv("maccap-first", "--epochs=24", *noise))
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(decoder_training, "SCORED", ("Bleu", "CIDEr"))
            judged = ["--decoder=captioning/maccap-first", f"--from={colour_clip}"]
            train_maccap.main(maccap_argv("maccap", *noise, *judged, *slow))

    trained_once(("captioning/maccap-first", "captioning/maccap"), train)
    return "captioning/maccap"


@pytest.fixture
def no_internet(monkeypatch):
    """Every connection fails at once; what the encoders conclude from it is undone afterwards."""
    import socket

    import huggingface_hub

    def refuse(*args, **kwargs):
        raise OSError("network is unreachable")

    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
