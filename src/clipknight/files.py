"""Outputs that appear whole or not at all: write beside the target under a name of one's own, sync, rename.

What is no plain file is never replaced: a link's target is written, a device is written through, a pipe is refused.
"""

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import filelock

ROOM = 1 << 30  # bytes of a disk that data of others never fill
LEAST_FREE = 1 << 20  # bytes; a disk with less is taken for full when a library fails to write without saying why


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path; its file replaces `path` on success and is removed on any error.

    Raises OSError that names `path` where nothing can be written there.
    """
    path = _target(path)
    if stat.S_ISCHR(_mode(path)):
        with tempfile.TemporaryDirectory() as folder:
            yield (temporary := Path(folder) / f"written{path.suffix}")
            try:
                with open(temporary, "rb") as written, open(path, "wb") as device:
                    shutil.copyfileobj(written, device)
            except OSError as error:  # of a write, which does not say where
                raise OSError(error.errno, error.strerror, str(path)) from error
        return
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a folder: name a file", str(path))
    with _whole(path, _name_beside(path, path.suffix)) as temporary:  # writers choose their format by the suffix
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)


@contextmanager
def atomic_folder(path: str | Path, sync: bool = True) -> Iterator[Path]:
    """Yield a temporary folder that replaces `path` on success and is removed on any error.

    Files need no `sync` where they can be had again.

    A folder in the way is set aside by a rename, and put back if the second rename fails. OSError as above.
    """
    path = _target(path)
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "is no folder: choose another name", str(path))
    with _whole(path, _name_beside(path)) as temporary:
        temporary.mkdir()
        yield temporary
        for file in temporary.rglob("*") if sync else ():
            if file.is_file():
                _sync(file)
        _swap(temporary, path)


def has_room(folder: Path, size: int) -> bool:
    """Whether the disk of `folder` takes `size` bytes more, and keeps ROOM."""
    return shutil.disk_usage(folder).free - size >= ROOM


@contextmanager
def one_at_a_time(folder: str | Path) -> Iterator[None]:
    """Let no other process work on `folder` meanwhile; wait for one that does. A kill lets go of it."""
    lock = lock_of(folder)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        print(f"waiting for another process that works on {folder}", flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def lock_of(folder: str | Path) -> filelock.FileLock:
    """The lock on `folder`, which is a file beside it: the folder itself may be replaced meanwhile."""
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    return filelock.FileLock(folder.with_name(f".{folder.name[:100]}.lock"))


@contextmanager
def _whole(path: Path, temporary: Path) -> Iterator[Path]:
    """`temporary` and the folders above it, removed on any error together with what is in them."""
    made = _make_parents(path)
    try:
        with errors_name(path, temporary):
            yield temporary
    except BaseException:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            with suppress(OSError):  # a read-only disk refuses even to delete what is not there
                temporary.unlink(missing_ok=True)
        for folder in made:
            with suppress(OSError):
                folder.rmdir()
        raise


@contextmanager
def errors_name(path: Path, temporary: Path | None = None) -> Iterator[None]:
    """What fails in writing says so of `path`, and not of `temporary`, its name until then, nor of no file at all.

    Libraries report a full disk in words of their own: any of their errors is that of a full disk, where it is full.
    """
    try:
        yield
    except (ValueError, KeyError, TypeError):  # of what was to be written
        raise
    except Exception as error:
        if shutil.disk_usage(next(folder for folder in path.absolute().parents if folder.is_dir())).free < LEAST_FREE:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        if isinstance(error, OSError) and error.errno and error.filename in (None, str(temporary)):
            raise type(error)(error.errno, os.strerror(error.errno), str(path)) from error
        raise


def check_replaceable(out: Path, mark: str, kind: str, overwrite: bool) -> None:
    """FileExistsError for a folder of this kind, known by its file `mark`, that stays, and for anything else there."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / mark).is_file():
        raise FileExistsError(f"{out} is there and is no {kind}: choose another --out")
    if not overwrite:
        raise FileExistsError(f"{out} exists: pass --overwrite to replace it")


def _make_parents(path: Path) -> list[Path]:
    """Make the folders that `path` lacks; those made, the innermost first."""
    lacking = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    return lacking


def _target(path: str | Path) -> Path:
    """Where writing to `path` ends: a link's target. OSError for a pipe or a socket, and for no name at all."""
    if not str(path):
        raise FileNotFoundError(errno.ENOENT, "an output needs a name", "''")
    path = Path(os.path.realpath(path)) if Path(path).is_symlink() else Path(path)
    if stat.S_ISFIFO(_mode(path)) or stat.S_ISSOCK(_mode(path)) or stat.S_ISBLK(_mode(path)):
        raise OSError(errno.EINVAL, "is a pipe or a device, which cannot be replaced: name a file", str(path))
    return path


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return 0


def _name_beside(path: Path, suffix: str = "") -> Path:
    """A hidden name in the same folder that no other process takes; short, for a name's length is limited."""
    return path.with_name(f".{path.stem[:40]}.{uuid4().hex[:12]}.partial{suffix[:40]}")


def _swap(new: Path, path: Path) -> None:
    if not path.exists():
        os.replace(new, path)
        return
    old = path.with_name(f".{path.name[:40]}.{uuid4().hex[:12]}.old")
    os.replace(path, old)
    try:
        os.replace(new, path)
    except BaseException:
        os.replace(old, path)
        raise
    shutil.rmtree(old)


def _sync(file: Path) -> None:
    with open(file, "rb+") as handle:  # Windows syncs through a writable handle alone
        os.fsync(handle.fileno())
