"""Folders of runs: which names they may have, who may write into them, and what may be deleted there."""

import os
import re
import shutil
from pathlib import Path

from clipknight.files import lock_of
from clipknight.messages import a_few, advice
from clipknight.packs import pack_of

import filelock

TENSORBOARD = "tensorboard"  # the folder that TensorBoard reads
# All that a run writes: what else lies in its folder is never touched.
OWN = ("settings.yaml", "metrics.jsonl", "scores.csv", "README.md", "last", "best", "predictions", TENSORBOARD, "wandb")
LONGEST_NAME = 200
ODD = re.compile(r'[\x00-\x1f\x7f\\:*?"<>|]')  # letters that some system's files cannot have, or a terminal shows badly
_claimed: dict[Path, filelock.FileLock] = {}


def check_name(name: str) -> None:
    """ValueError for a name that is none: empty, leading out of outputs/, or with letters that files cannot have."""
    path = Path(name)
    parts = name.removeprefix(path.anchor).replace("\\", "/").split("/") if path.is_absolute() else name.split("/")
    if not name.strip():
        raise ValueError("a run needs a name" + advice(": --run NAME"))
    if (
        any(part.strip() in ("", ".", "..") for part in parts)
        or parts[0].startswith(("-", "~"))
        or any(map(ODD.search, parts))
    ):
        raise ValueError(f"{name[:80]!r} is no name for a run: use letters, digits, _ and -, as in study/a_1")
    if len(name) > LONGEST_NAME or any(len(os.fsencode(part)) > LONGEST_NAME for part in parts):
        raise ValueError(f"{name[:40]!r}… is too long a name for a run: at most {LONGEST_NAME} letters")
    if name.split("/")[0] in ("embeddings", "frames", "datasets"):
        raise ValueError(f"{name!r} is no name for a run: outputs/{parts[0]} is the cache of encoded data")


def refuse_unless_free(folder: Path, resume: bool | None, overwrite: bool) -> None:
    """FileExistsError where a run, or anything else, would be lost; `resume` is None for a script that cannot.

    FileNotFoundError where there is no run to resume.
    """
    if pack := pack_of(folder):
        raise FileExistsError(f"{folder} lies in the pack {pack}, which no run is written into: choose another --run")
    if above := next((parent for parent in folder.parents if (parent / "run.json").is_file()), None):
        raise FileExistsError(f"{folder} lies inside the run {above}: choose another --run")
    if folder.is_file() or folder.is_symlink():
        raise FileExistsError(f"{folder} is there and is no folder: choose another --run")
    is_run = (folder / "run.json").is_file()
    if resume and not is_run:
        raise FileNotFoundError(f"{folder} is no run to go on with: leave out --resume, or check --run")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if not is_run:
        raise FileExistsError(f"{folder} is not a run's folder: choose another --run")
    if not resume and not overwrite:
        ways = (
            "--overwrite to replace it" if resume is None else "--resume to go on with it or --overwrite to replace it"
        )
        raise FileExistsError(f"{folder} exists: pass {ways}")


def clear(folder: Path) -> None:
    """Delete what an earlier run of that name wrote, but for run.json: the folder stays a run's."""
    for name in OWN:
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    if kept := sorted(path.name for path in folder.iterdir() if path.name != "run.json"):
        print(f"{folder}: {a_few(kept, 3)} is not of the run and stays")


def claim(folder: Path) -> None:
    """Let no other process write into this run until this one ends. FileExistsError where one does already."""
    folder = folder.resolve()
    if folder in _claimed:
        return
    lock = lock_of(folder)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise FileExistsError(
            f"another process is writing to the run {folder}: wait for it, or choose another --run"
        ) from None
    _claimed[folder] = lock


def release(folder: Path) -> None:
    """Let others write into the run."""
    if lock := _claimed.pop(folder.resolve(), None):
        lock.release()
