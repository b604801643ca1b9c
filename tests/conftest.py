"""What several test files share. Fakes are files: see tiny_models."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

import clipknight.project_paths

# Before any module copies it: tests never touch the project's own outputs/.
clipknight.project_paths.OUTPUTS = Path(tempfile.mkdtemp(prefix="clipknight-tests-"))
atexit.register(shutil.rmtree, clipknight.project_paths.OUTPUTS, ignore_errors=True)

import pytest  # noqa: E402
import tiny_models  # noqa: E402
import torch  # noqa: E402

os.fsync = lambda handle: None  # no test pulls the plug; on a busy disk every sync costs seconds
torch.set_num_threads(1)  # fast beside other work, and the same sums everywhere


@pytest.fixture(scope="session")
def outputs() -> Path:
    """Stands for outputs/ in every test; give each run a name of its own."""
    return clipknight.project_paths.OUTPUTS


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory) -> Path:
    """A random CLIP of 16 numbers a row, in open_clip's folder format."""
    return tiny_models.write_clip(tmp_path_factory.mktemp("clip") / "tiny-clip")


@pytest.fixture(scope="session")
def tiny_target_encoder(tmp_path_factory) -> Path:
    """A random sentence-transformers folder of 24 numbers a row."""
    return tiny_models.write_target_encoder(tmp_path_factory.mktemp("target") / "tiny-target")


@pytest.fixture(scope="session")
def coloured(tmp_path_factory) -> Path:
    """Plain coloured pictures in Flickr8k's layout: 24 train, 8 valid, 6 test. Not to be written to."""
    return tiny_models.write_coloured_dataset(tmp_path_factory.mktemp("data") / "coloured")


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
