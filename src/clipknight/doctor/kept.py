"""What the commands computed once and kept: how much it is, and clearing it.

Only what a command made, by its name and its contents, is deleted, and only while no command uses it.
"""

import os
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from clipknight.caches import unused
from clipknight.doctor.finding import Finding
from clipknight.messages import as_typed, counted
from clipknight.paths import caches

DIGEST = "[0-9a-f]{12}"
ROWS = re.compile(rf".+-{DIGEST}(\.partial)?")
GRAPH = re.compile(r"[0-9a-f]{16}(-\w+)+")  # after a digest of weights, of its precision and backend
FRAMES = re.compile(rf".*-{DIGEST}")
DATASET = re.compile(rf"{DIGEST}-.+")
BROKEN_OFF = re.compile(rf"\..*\.{DIGEST}\.(partial|old)(\..*)?")  # what a killed command leaves, see files.py
BEGUN = re.compile(r".+\.f32|\d+\.json")  # rows, and captions, until all are there
READABLE = "readable.parquet"


class Cleared(NamedTuple):
    """What was deleted of a cache, in bytes, and what of others' was left there."""

    name: str
    bytes: int
    kept: int


def kept(name: str) -> Finding:
    """How much a cache holds."""
    folder = caches() / name
    size = size_of(folder)
    remedy = as_typed(f"python src/doctor.py --clear {name} deletes it") if size else ""
    return Finding(name, f"{shown_size(size)} in {folder}", remedy)


def clear(names: Iterable[str]) -> list[Cleared]:
    """Delete what these caches hold. ValueError while a command uses any."""
    with unused():
        return [_clear(name) for name in names]


def _clear(name: str) -> Cleared:
    folder, freed = caches() / name, 0
    for entry in [*own_entries(name)]:
        freed += size_of(entry)
        _delete(entry)
    for inner in _folders(folder) if name == "embeddings" else ():  # a dataset's, where nothing else is in it
        for lock in inner.glob(".*.lock"):
            lock.unlink()
        if not any(inner.iterdir()):
            inner.rmdir()
    return Cleared(name, freed, sum(not entry.name.endswith(".lock") for entry in _entries(folder)))


def own_entries(name: str) -> Iterator[Path]:
    """What a command made in one of CACHES and makes again. A split that was made stays: runs were trained by it."""
    folder = caches() / name
    places = _folders(folder) if name == "embeddings" else [folder]
    for entry in (entry for place in places for entry in _entries(place)):
        if entry.is_symlink():
            continue
        if BROKEN_OFF.fullmatch(entry.name) or (name == "embeddings" and entry.name == READABLE):
            yield entry
        elif entry.is_dir() and _is_own_folder(name, entry):
            yield entry


def _is_own_folder(name: str, folder: Path) -> bool:
    inside = [path.name for path in _entries(folder)]
    if name == "embeddings":
        from clipknight.embedding.embeddings import FILES  # late: a report needs no pandas

        return bool(ROWS.fullmatch(folder.name)) and all(file in FILES or BEGUN.fullmatch(file) for file in inside)
    if name == "graphs":
        return bool(GRAPH.fullmatch(folder.name)) and {*inside} <= {"model.onnx", "graph.json"}
    if name == "frames":
        return bool(FRAMES.fullmatch(folder.name)) and all(file.endswith(".png") for file in inside)
    return bool(DATASET.fullmatch(folder.name))


def _delete(entry: Path) -> None:
    """At once to every other process: a folder is renamed before its files go."""
    if not entry.is_dir():
        entry.unlink()
        return
    doomed = entry.with_name(f".{entry.name[:40]}.{uuid4().hex[:12]}.old")
    os.replace(entry, doomed)
    shutil.rmtree(doomed)


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _folders(folder: Path) -> list[Path]:
    return [entry for entry in _entries(folder) if entry.is_dir() and not entry.is_symlink()]


def size_of(path: str | Path) -> int:
    """Bytes of a file or of all files of a folder; links count as nothing."""
    path = Path(path)
    if path.is_file():
        return path.stat().st_size
    files = (Path(folder, name) for folder, _, names in os.walk(path) for name in names)
    return sum(file.lstat().st_size for file in files if not file.is_symlink())


def shown_size(size: int) -> str:
    if size >= 1e9:
        return f"{size / 1e9:,.1f} GB"
    return f"{size / 1e6:,.1f} MB" if size else "nothing"


def shown(cleared: Cleared) -> str:
    """A line about it."""
    rest = f"; {counted(cleared.kept, 'entry')} left that no command makes again" if cleared.kept else ""
    return f"{cleared.name}: {shown_size(cleared.bytes)} deleted{rest}"
