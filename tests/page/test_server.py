"""The server's own parts: a port that is taken, and temporary files that go however the server ends."""

import os
import signal

from clipknight.page.server import listening, temporary_files

import pytest


def test_temporary_files_go_when_the_server_is_ended():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended, temporary_files() as folder:
        (folder / "upload.png").write_bytes(b"0")
        assert os.environ["GRADIO_TEMP_DIR"] == str(folder)
        signal.raise_signal(signal.SIGTERM)
    assert ended.value.code == 143 and not folder.exists()
    assert signal.getsignal(signal.SIGTERM) == before and "GRADIO_TEMP_DIR" not in os.environ


def test_a_port_that_is_taken_names_the_remedy():
    with listening("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"127.0.0.1:{port} cannot be listened on .*choose another --port"):
            listening("127.0.0.1", port)
