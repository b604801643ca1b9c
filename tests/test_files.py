import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

from clipknight import files
from clipknight.files import atomic_file, atomic_folder

import pytest


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8")
        for path in folder.rglob("*")
        if path.is_file()
    }


def write_file(path, text="new"):
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_folder(path, text="new"):
    with atomic_folder(path) as temporary:
        (temporary / "inner").mkdir()
        (temporary / "inner" / "a.txt").write_text(text, encoding="utf-8")


def old_file(folder):
    (folder / "target").write_text("old", encoding="utf-8")


def old_folder(folder):
    (folder / "target").mkdir()
    (folder / "target" / "was.txt").write_text("old", encoding="utf-8")


CASES = [pytest.param(write_file, old_file, id="file"), pytest.param(write_folder, old_folder, id="folder")]


@pytest.mark.parametrize("write, old", CASES)
def test_replaces_what_was_there(tmp_path, write, old):
    old(tmp_path)
    write(tmp_path / "target")
    assert set(contents(tmp_path).values()) == {"new"}
    assert os.listdir(tmp_path) == ["target"]


@pytest.mark.parametrize("write", [write_file, write_folder])
def test_makes_the_folders_above(tmp_path, write):
    write(tmp_path / "a" / "b" / "target")
    assert list(contents(tmp_path).values()) == ["new"]


@pytest.mark.parametrize("write", [write_file, write_folder])
def test_every_file_is_synced_through_a_handle_that_can_write(tmp_path, monkeypatch, write):
    """Windows refuses to sync any other."""
    writable = []
    monkeypatch.setattr(files.os, "fsync", lambda handle: writable.append(os.write(handle, b"") == 0))
    write(tmp_path / "target")
    assert writable == [True] * len([path for path in tmp_path.rglob("*") if path.is_file()])


def test_the_suffix_stays_for_writers_that_choose_by_it(tmp_path):
    with atomic_file(tmp_path / "table.parquet") as temporary:
        assert temporary.suffix == ".parquet" and temporary.parent == tmp_path
        temporary.touch()


def test_a_folder_is_readable_by_others(tmp_path):
    write_folder(tmp_path / "target")
    assert (tmp_path / "target").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, OSError(errno.ENOSPC, "No space left on device")])
@pytest.mark.parametrize("writer, old", [(atomic_file, old_file), (atomic_folder, old_folder)])
def test_an_error_while_writing_keeps_the_old_content(tmp_path, writer, old, error):
    old(tmp_path)
    before = contents(tmp_path)
    with pytest.raises(type(error) if isinstance(error, OSError) else error):
        with writer(tmp_path / "target") as temporary:
            (temporary / "half" if temporary.is_dir() else temporary).write_text("half", encoding="utf-8")
            raise error
    assert contents(tmp_path) == before
    assert os.listdir(tmp_path) == ["target"]


@pytest.mark.parametrize("write, old", CASES)
@pytest.mark.parametrize("failing", ["_sync", "os.replace", "second os.replace"])
def test_a_failure_at_the_end_keeps_the_old_content(tmp_path, monkeypatch, write, old, failing):
    old(tmp_path)
    before, replace, calls = contents(tmp_path), os.replace, []

    def fail(*args):
        calls.append(args)
        if len(calls) == (2 if failing.startswith("second") and write is write_folder else 1):
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(*args)

    monkeypatch.setattr(*((files, "_sync", fail) if failing == "_sync" else (files.os, "replace", fail)))
    with pytest.raises(OSError, match="No space"):
        write(tmp_path / "target")
    assert contents(tmp_path) == before
    assert os.listdir(tmp_path) == ["target"]


WRITER = """
import importlib.util, sys, time
spec = importlib.util.spec_from_file_location("files", sys.argv[1])
files = importlib.util.module_from_spec(spec)
spec.loader.exec_module(files)
with getattr(files, sys.argv[2])(sys.argv[3]) as temporary:
    with open(temporary / "half" if temporary.is_dir() else temporary, "w") as file:
        file.write("half")
        file.flush()
        print("writing", flush=True)
        time.sleep(60)
"""


@pytest.mark.parametrize("writer, old", [("atomic_file", old_file), ("atomic_folder", old_folder)])
@pytest.mark.parametrize("existing", [True, False])
def test_a_killed_process_leaves_nothing_half_written_under_the_name(tmp_path, writer, old, existing):
    if existing:
        old(tmp_path)
    before = contents(tmp_path)
    command = [sys.executable, "-c", WRITER, files.__file__, writer, str(tmp_path / "target")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "writing\n"
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    here = {name: text for name, text in contents(tmp_path).items() if name.startswith("target")}
    assert here == before and (tmp_path / "target").exists() == existing


def test_a_link_stays_and_its_target_is_written(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "target").write_text("old", encoding="utf-8")
    (tmp_path / "link").symlink_to("real/target")
    write_file(tmp_path / "link")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real" / "target").read_text(encoding="utf-8") == "new"
    assert os.listdir(tmp_path / "real") == ["target"]


def test_a_device_is_written_through():
    write_file(Path(os.devnull))
    assert Path(os.devnull).is_char_device()


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="no such device here")
def test_a_device_that_takes_no_more_is_named():
    with pytest.raises(OSError, match="No space left on device: '/dev/full'"):
        write_file(Path("/dev/full"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
@pytest.mark.parametrize("write", [write_file, write_folder])
def test_a_pipe_is_refused(tmp_path, write):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="cannot be replaced: name a file.*pipe"):
        write(tmp_path / "pipe")
    assert (tmp_path / "pipe").is_fifo()


def test_a_file_is_no_folder_and_a_folder_no_file(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("old", encoding="utf-8")
    with pytest.raises(IsADirectoryError, match="name a file.*folder"):
        write_file(tmp_path / "folder")
    with pytest.raises(NotADirectoryError, match="choose another name.*file"):
        write_folder(tmp_path / "file")
    with pytest.raises(OSError, match="file"):
        write_file(tmp_path / "file" / "below")
    with pytest.raises(OSError, match="an output needs a name"):
        write_file("")
    assert contents(tmp_path) == {"file": "old"}


def test_a_failure_leaves_no_folder_behind_that_it_made(tmp_path):
    with pytest.raises(RuntimeError), atomic_file(tmp_path / "a" / "b" / "target"):
        raise RuntimeError
    assert not os.listdir(tmp_path)


def test_a_full_disk_is_named_whatever_the_writer_says(tmp_path, monkeypatch):
    usage = files.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(files.shutil, "disk_usage", lambda path: usage._replace(free=4096))
    with pytest.raises(OSError, match="No space left on device.*target"), atomic_file(tmp_path / "target"):
        raise RuntimeError("PytorchStreamWriter failed writing file data/1")
    with pytest.raises(ValueError, match="of the content"), atomic_file(tmp_path / "target"):
        raise ValueError("of the content")


LOCKED = """
import sys
from clipknight.files import one_at_a_time
with one_at_a_time(sys.argv[1]):
    print("in", flush=True)
    sys.stdin.readline()
"""


def test_a_second_process_waits_until_the_first_is_killed(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(Path(files.__file__).parents[1])}
    command = [sys.executable, "-c", LOCKED, str(tmp_path / "a")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": environment}
    with subprocess.Popen(command, **pipes) as first, subprocess.Popen(command, **pipes) as second:
        said = {process: process.stdout.readline() for process in (first, second)}
        inside = next(process for process, line in said.items() if line == "in\n")
        waiting = second if inside is first else first
        assert said[waiting].startswith("waiting for another process")
        inside.kill()
        assert waiting.stdout.readline() == "in\n"
        waiting.kill()


@pytest.mark.parametrize("write", [write_file, write_folder])
@pytest.mark.parametrize("number, free, told", [(errno.EROFS, 1 << 40, errno.EROFS), (None, 1000, errno.ENOSPC)])
def test_a_failure_names_the_file_that_was_asked_for(tmp_path, monkeypatch, write, number, free, told):
    """And not the hidden name that it has until it is whole; a library's own words for a full disk are not shown."""

    def fail(path, *args, **kwargs):
        raise OSError(number, os.strerror(number), str(path)) if number else OSError("4560 requested and 2048 written")

    monkeypatch.setattr(Path, "mkdir" if write is write_folder else "write_text", fail)
    monkeypatch.setattr(Path, "unlink", fail)
    monkeypatch.setattr(files.shutil, "disk_usage", lambda folder: SimpleNamespace(free=free))
    monkeypatch.setattr(files, "_make_parents", lambda path: [])
    with pytest.raises(OSError) as error:
        write(tmp_path / "target")
    assert (error.value.errno, error.value.filename) == (told, str(tmp_path / "target"))


def test_a_failure_of_appending_names_the_file(tmp_path, monkeypatch):
    with pytest.raises(OSError, match="Input/output error") as error, files.errors_name(tmp_path / "rows.f32"):
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    assert error.value.filename == str(tmp_path / "rows.f32")
