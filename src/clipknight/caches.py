"""The caches below `paths.caches()`, and which processes use them: one that asks for a cache holds a file till it ends.

So nothing is cleared under a command that reads it. The system lets go of the file of a process that was killed.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from clipknight.files import one_at_a_time
from clipknight.messages import a_few
from clipknight.paths import caches, caches_last

import filelock

CACHES = ("embeddings", "graphs", "frames", "datasets")
USERS = ".users"  # folder of the files that processes hold
_held: dict[Path, filelock.FileLock] = {}


def used_cache(name: str) -> Path:
    """The folder of one of CACHES, which this process uses from now on."""
    if caches_last():
        _hold(caches() / USERS)
    return caches() / name


@contextmanager
def unused() -> Iterator[None]:
    """Let no process begin to use the caches meanwhile. ValueError where one does already."""
    users = caches() / USERS
    with _entrance(users):
        if others := _processes(users):
            raise ValueError(f"{caches()} is in use by process {a_few(others)}: wait until it ends")
        yield


def _hold(users: Path) -> None:
    if users in _held:
        return
    with suppress(OSError), _entrance(users):  # nothing is cleared where nothing can be written
        _processes(users)
        lock = filelock.FileLock(users / f"{os.getpid()}-{uuid4().hex[:8]}.held")
        lock.acquire(timeout=0)
        _held[users] = lock


def _entrance(users: Path):
    return one_at_a_time(users / "entrance")


def _processes(users: Path) -> list[str]:
    """The numbers of those that hold a file; the files of the others are deleted."""
    alive = []
    for file in sorted(users.glob("*.held")):
        try:
            with filelock.FileLock(file, timeout=0):
                pass
        except filelock.Timeout:
            alive.append(file.stem.partition("-")[0])
        else:
            file.unlink(missing_ok=True)
    return alive
