"""What several test files share. Fakes are files: see tiny_models."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

import clipknight  # noqa: F401, first: torchvision, which others below import, needs its guard

# Tests never touch the project's own outputs/.
OUTPUTS = Path(tempfile.mkdtemp(prefix="clipknight-tests-"))
os.environ["CLIPKNIGHT_OUTPUTS"] = str(OUTPUTS)
atexit.register(shutil.rmtree, OUTPUTS, ignore_errors=True)

from clipknight.messages import script_has  # noqa: E402

import pytest  # noqa: E402
import tiny_models  # noqa: E402
import torch  # noqa: E402

os.fsync = lambda handle: None  # no test pulls the plug; on a busy disk every sync costs seconds
torch.set_num_threads(1)  # fast beside other work, and the same sums everywhere


@pytest.fixture(autouse=True)
def no_script_runs():
    """What a test before has parsed: messages would name the flags of that script alone."""
    script_has(None)


@pytest.fixture(scope="session")
def outputs() -> Path:
    """Stands for outputs/ in every test; give each run a name of its own."""
    return OUTPUTS


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory) -> Path:
    """A random CLIP of 16 numbers a row, in open_clip's folder format."""
    return tiny_models.write_clip(tmp_path_factory.mktemp("clip") / "tiny-clip")


@pytest.fixture(scope="session")
def colour_clip(tmp_path_factory) -> Path:
    """A CLIP in which pictures, their four patches, and captions of one colour are near each other."""
    return tiny_models.write_colour_clip(tmp_path_factory.mktemp("clip") / "colour-clip")


@pytest.fixture(scope="session")
def tiny_target_encoder(tmp_path_factory) -> Path:
    """A random sentence-transformers folder of 24 numbers a row."""
    return tiny_models.write_target_encoder(tmp_path_factory.mktemp("target") / "tiny-target")


@pytest.fixture(scope="session")
def colour_encoder(tmp_path_factory) -> Path:
    """A sentence-transformers folder in which captions of one colour are near each other."""
    return tiny_models.write_colour_encoder(tmp_path_factory.mktemp("target") / "colours")


@pytest.fixture(scope="session", params=["gpt2", "llama"])
def language_model(request, tmp_path_factory) -> Path:
    """A random causal language model with 48 positions, in transformers' folder format."""
    return tiny_models.write_language_model(tmp_path_factory.mktemp("decoder") / request.param, request.param)


@pytest.fixture(scope="session")
def coloured(tmp_path_factory) -> Path:
    """Plain coloured pictures in Flickr8k's layout: 24 train, 8 valid, 6 test. Not to be written to."""
    return tiny_models.write_coloured_dataset(tmp_path_factory.mktemp("data") / "coloured")


@pytest.fixture(scope="session")
def image_run(coloured, tiny_clip, colour_encoder) -> str:
    """A Model B: it predicts for a picture the mean of what is said of its colour."""
    import train_b

    named = {"data": coloured, "encoder": tiny_clip, "target_encoder": colour_encoder, "run": "captioning/b"}
    options = {"n_neighbors": 4, "precision": "fp32", "device": "cpu", "workers": 0}
    train_b.main([f"--{name}={value}" for name, value in {**named, **options}.items()])
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
def knight_run(knight_argv, image_run) -> str:
    """A Knight that says the colours of pictures: taught text alone, then judged by the embeddings of `image_run`."""
    import train_knight
    from clipknight.captioning import training as decoder_training

    train_knight.main(knight_argv("first", "--epochs=12"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(decoder_training, "SCORED", ("Bleu", "ROUGE_L", "CIDEr"))  # METEOR takes seconds to start
        judged = ["--decoder=captioning/first", f"--from={image_run}", "--lr_decoder=1e-4"]
        train_knight.main(knight_argv("knight", *judged))
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
def maccap_run(maccap_argv, colour_clip) -> str:
    """A MacCap that says the colours of pictures: taught text alone, judged by their sub-regions."""
    import train_maccap
    from clipknight.captioning import training as decoder_training

    noise = ["--variance=0.005", "--image_variance=0.001"]
    train_maccap.main(maccap_argv("maccap-first", "--epochs=24", *noise))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(decoder_training, "SCORED", ("Bleu", "CIDEr"))
        judged = ["--decoder=captioning/maccap-first", f"--from={colour_clip}", "--lr_mapper=1e-5", "--lr_decoder=1e-5"]
        train_maccap.main(maccap_argv("maccap", *noise, *judged))
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
