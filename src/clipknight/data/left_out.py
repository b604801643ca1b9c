"""What nobody can use of a dataset or a folder, missing or unreadable: named in an error, or left out and listed."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from clipknight.data.folders import print_once
from clipknight.data.images import find_unreadable
from clipknight.files import atomic_file
from clipknight.messages import a_few, advice
from clipknight.paths import caches, caches_last
from clipknight.processes import in_main_process, of_main_process

import pandas as pd
import pyarrow


class UnreadableMedia(ValueError):
    """Some images or videos cannot be read; the message lists a few, `reasons` maps path to reason."""

    def __init__(self, reasons: Mapping[str, str], media: str = "image"):
        self.reasons, self.media = reasons, media
        listed = a_few((f"{path}: {reason}" for path, reason in reasons.items()), 3)
        super().__init__(
            f"{len(reasons):,} unreadable {media}s: {listed}: mend or remove them"
            + advice(", or pass --skip_unreadable to go on")
        )

    def __reduce__(self):
        """Pickled by what it was made of: by its message alone it could not be made again."""
        return type(self), (dict(self.reasons), self.media)


def write_left_out(name: str, why: str, rows: pd.DataFrame) -> Path:
    """Write the rows as `<name>-<why>.csv`, and return that path."""
    path = caches() / "left_out" / f"{name}-{why}.csv"
    if in_main_process():
        with atomic_file(path) as temporary:
            rows.to_csv(temporary, index=False)
    return path


def note_unreadable(name: str, reasons: Mapping[str, str], media: str = "image") -> None:
    """Count what is left out of the dataset or folder `name`, and list all of it, with the reasons, in a file.

    There is no file where caches do not last.
    """
    names, where = a_few([Path(path).name for path in reasons], 3), ""
    if caches_last():
        rows = pd.DataFrame(list(reasons.items()), columns=["path", "reason"])
        where = f", all in {write_left_out(name, 'unreadable', rows)}"
    print_once(f"left out: {len(reasons):,} unreadable {media}s of {name}: {names}{where}")


def unreadable_images(paths: Sequence[str], memory: Path) -> dict[str, str]:
    """The images that cannot be decoded, with the reason.

    All are decoded, once: those that can be are remembered in the file `memory`, as long as they are not touched. The
    others are tried again by the next call, for the reason may be gone.
    """
    return of_main_process(lambda: _unreadable_images(paths, memory))


def _unreadable_images(paths: Sequence[str], memory: Path) -> dict[str, str]:
    states, known = {path: _state(path) for path in paths}, _remembered(memory)
    reasons = find_unreadable([path for path in paths if known.get(path) != states[path]])
    readable = {path: state for path, state in states.items() if path not in reasons}
    if known | readable != known:
        with atomic_file(memory) as temporary:
            pd.DataFrame(list((known | readable).items()), columns=["path", "state"]).to_parquet(temporary)
    return reasons


def _state(path: str) -> str:
    """What changes with a file: its size, and when its bytes or its rights were changed."""
    try:
        stat = os.stat(path)
    except OSError:
        return ""
    return f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns}"


def _remembered(memory: Path) -> dict[str, str]:
    """State by path; nothing where the file is not there or damaged, for it can be made anew."""
    try:
        return pd.read_parquet(memory).set_index("path")["state"].to_dict()
    except (OSError, ValueError, KeyError, pyarrow.ArrowException):
        return {}
