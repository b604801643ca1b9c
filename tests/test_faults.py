"""A disk that fails at any write: the old state stands, nothing half-written stays, the message is one line."""

import errno
import importlib
import os

from clipknight import files

import pytest

ERRORS = (errno.ENOSPC, errno.EROFS, errno.EIO, errno.EACCES)


@pytest.fixture(scope="module")
def commands(coloured, tiny_clip, colour_encoder, outputs, image_run, tmp_path_factory):
    """Script and flags by what they write; run first without a fault, so that caches are there."""
    folder = tmp_path_factory.mktemp("faults")
    data = [f"--data={coloured}", f"--target_encoder={colour_encoder}", "--device=cpu"]
    encoder = [f"--encoder={tiny_clip}", "--precision=fp32", "--workers=0"]
    blended = ["--members", image_run, "faults/second", "--weights", "0.4", "0.6"]
    return folder, {
        "train_b": ("train_b", [*data, *encoder, "--n_neighbors=3", "--run=faults/second"]),
        "blend": ("blend", [*data, *blended, "--run=faults/blend"]),
        "submit": ("submit", [f"--run={image_run}", "--device=cpu", f"--out={folder / 'submission.csv'}"]),
        "predict": (
            "predict",
            [f"--run={image_run}", f"--images={coloured}", f"--out={folder / 'rows'}", "--device=cpu", "--workers=0"],
        ),
        "filter_captions": ("filter_captions", [*data, "--threshold=0.9", f"--out={folder / 'kept.csv'}"]),
    }


def snapshot(*folders) -> dict[str, bytes]:
    paths = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return {str(path): path.read_bytes() for path in paths if not path.name.endswith(".lock")}


def partials(*folders) -> list:
    return sorted(path for folder in folders for path in folder.rglob("*.partial*"))


class Fault:
    """Lets `writes` renames and syncs through and fails at the next one."""

    def __init__(self, monkeypatch, writes: int, number: int):
        self.left, self.number = writes, number
        for name in ("replace", "fsync"):
            monkeypatch.setattr(files.os, name, self.failing(getattr(os, name)))

    def failing(self, call):
        def counted(*args):
            self.left -= 1
            if self.left == -1:
                raise OSError(self.number, os.strerror(self.number), str(args[-1]))
            return call(*args)

        return counted


LONG = [pytest.param(name, marks=pytest.mark.slow) for name in ("train_b", "blend")]


@pytest.mark.parametrize("name", [*LONG, "submit", "predict", "filter_captions"])
def test_a_disk_that_fails(commands, outputs, monkeypatch, capsys, name):
    folder, scripts = commands
    script, argv = scripts[name]
    main = importlib.import_module(script).main
    again = [] if name in ("submit", "filter_captions") else ["--overwrite"]
    main(argv)
    with monkeypatch.context() as patched:
        counting = Fault(patched, 10**6, 0)
        main([*argv, *again])
    writes = 10**6 - counting.left
    assert writes >= 2
    before, begun = snapshot(folder, outputs / "embeddings"), partials(outputs, folder)
    for write in range(writes):
        with monkeypatch.context() as patched:
            number = ERRORS[write % len(ERRORS)]
            fault = Fault(patched, write, number)
            with pytest.raises(SystemExit, match=f"^error: .*{os.strerror(number)}") as ended:
                main([*argv, *again])
            assert fault.left < 0
        assert "\n" not in str(ended.value) and len(str(ended.value)) <= 500
        assert snapshot(folder, outputs / "embeddings") == before
        assert partials(outputs, folder) == begun
    main([*argv, *again])
    assert snapshot(folder, outputs / "embeddings") == before
