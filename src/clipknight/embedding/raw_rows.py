"""Rows in the making: raw float32 files in one folder, to which batches are appended, until all rows are there.

`rows-<numbers a row>.f32` holds the rows from the first on. Where several processes share the rest out, each appends to
a file of its own, `part_<start>_<stop>-<numbers a row>.f32`; an engine's workers hand over their parts, which are
written whole. They are joined at the end. A killed attempt is gone on with, by any number of processes or workers.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from clipknight.engines.workers import Work, results, stretches
from clipknight.files import atomic_file, errors_name
from clipknight.preparation import wanted_engine
from clipknight.processes import (
    in_main_process,
    of_main_process,
    process_count,
    process_index,
    stretches_of,
    wait_for_everyone,
)
from clipknight.waiting import progress_bar

import numpy as np


class RowsOf(Work, Protocol):
    """What computes rows. `ready` gives what returns all rows of a part's inputs as one array."""

    def __call__(self, inputs: Sequence[str]) -> Iterator[np.ndarray]:
        """Rows of the inputs, in their order, a batch at a time; NaN for what has none."""
        ...


@dataclass(frozen=True, eq=False)
class ToCompute:
    """`rows_of` gives a row for each of `inputs`, in batches of `batch_size`, which so many processes read."""

    inputs: Sequence[str]
    rows_of: RowsOf
    batch_size: int
    readers: int = 0

    def __len__(self) -> int:
        return len(self.inputs)

    def batches(self, start: int, stop: int) -> Iterator[np.ndarray]:
        return self.rows_of(self.inputs[start:stop])


def compute_rows(folder: Path, to_compute: ToCompute, label: str) -> None:
    """Compute what is missing of the rows, shared out among the processes, or the engine's workers. ValueError."""
    if process_count() > 1:
        _share_out(folder, to_compute, label)
        return
    _join(folder)
    if wanted_engine().name != "local":
        _by_workers(folder, to_compute, label)
    _append(folder, "rows", len(to_compute), to_compute.batches, to_compute.batch_size, label)


def open_rows(folder: Path, rows: int, label: str) -> np.ndarray:
    """The computed rows, memory-mapped. ValueError where there were none to compute."""
    file = _raw_file(folder, "rows")
    if file is None:
        raise ValueError(f"{label}: nothing to encode")
    return np.memmap(file, dtype=np.float32, mode="r", shape=(rows, _dim(file)))


def write_rows(folder: Path, rows: np.ndarray) -> None:
    """Put rows that were computed before into `folder`, NaN for those to be computed again."""
    file = folder / f"rows-{rows.shape[1]}.f32"
    with errors_name(file):
        rows.astype(np.float32).tofile(file)


def _share_out(folder: Path, to_compute: ToCompute, label: str) -> None:
    """Append the rows that are not there yet, a stretch of whole batches by each process; the main one joins them."""
    if wanted_engine().name != "local":
        raise ValueError("torchrun and Ray would both start processes: take one of them")
    rows, batches, batch_size = len(to_compute), to_compute.batches, to_compute.batch_size
    done = of_main_process(lambda: _whole_batches(_raw_file(folder, "rows"), rows, batches, batch_size))
    stretches = [(done + start, done + stop) for start, stop in stretches_of(rows - done, batch_size)]
    start, stop = stretches[process_index()]
    own = f"part_{start}_{stop}"
    _append(folder, own, stop - start, lambda a, b: batches(start + a, start + b), batch_size, label)
    wait_for_everyone()
    if in_main_process():
        _join(folder)


def _by_workers(folder: Path, to_compute: ToCompute, label: str) -> None:
    """Have the engine compute the parts that are not there yet; each is written whole, then all are joined."""
    done = _whole_batches(_raw_file(folder, "rows"), len(to_compute), to_compute.batches, to_compute.batch_size)
    parts = stretches(len(to_compute), to_compute.batch_size)
    names = [f"part_{start}_{stop}" for start, stop in parts]
    missing = [i for i, (_, stop) in enumerate(parts) if stop > done and not _raw_file(folder, names[i])]
    inputs = [to_compute.inputs[start:stop] for start, stop in parts]
    there = len(to_compute) - sum(len(inputs[i]) for i in missing)
    found = results(to_compute.rows_of, inputs, missing, to_compute.readers) if missing else ()
    with progress_bar(total=len(to_compute), initial=there, desc=label, unit="row", disable=not missing) as bar:
        for number, vectors in found:
            with atomic_file(folder / f"{names[number]}-{vectors.shape[1]}.f32") as temporary:
                np.ascontiguousarray(vectors, dtype=np.float32).tofile(temporary)
            bar.update(len(vectors))
    _join(folder)


def _join(folder: Path) -> None:
    """Put the whole parts that follow on the rows that are there behind these. A kill leaves rows and parts usable."""
    for part in sorted(folder.glob("part_*.f32"), key=_stretch):
        (start, stop), row_bytes = _stretch(part), 4 * _dim(part)
        whole = folder / f"rows-{_dim(part)}.f32"
        done = whole.stat().st_size // row_bytes if whole.is_file() else 0
        if part.stat().st_size == (stop - start) * row_bytes and start <= done:
            with errors_name(whole), open(part, "rb") as source, open(whole, "r+b" if done else "wb") as target:
                target.seek(start * row_bytes)
                shutil.copyfileobj(source, target)
            part.unlink()


def _append(folder: Path, name: str, rows: int, batches: Callable, batch_size: int, label: str) -> None:
    """Append each batch to the raw file `name`, going on after the last whole batch of an earlier, killed attempt."""
    file = _raw_file(folder, name)
    done = _whole_batches(file, rows, batches, batch_size)
    silent = done == rows or not in_main_process()
    with progress_bar(total=rows, initial=done, desc=label, unit="row", disable=silent, smoothing=0.1) as bar:
        for vectors in batches(done, rows) if done < rows else ():
            file = file or folder / f"{name}-{vectors.shape[1]}.f32"
            with errors_name(file), open(file, "ab") as handle:
                np.ascontiguousarray(vectors, dtype=np.float32).tofile(handle)
            bar.update(len(vectors))


def _raw_file(folder: Path, name: str) -> Path | None:
    return next(folder.glob(f"{name}-*.f32"), None)


def _whole_batches(file: Path | None, rows: int, batches: Callable, batch_size: int) -> int:
    """How many rows of a raw file stand: whole batches, as in one go; NaN is tried again, the rest is cut."""
    if file is None:
        return 0
    row_bytes = 4 * _dim(file)
    done = min(file.stat().st_size // row_bytes, rows)
    done = done if done == rows else done // batch_size * batch_size
    with open(file, "r+b") as handle:
        handle.truncate(done * row_bytes)
    _compute_nan_again(file, done, batches, batch_size)
    return done


def _compute_nan_again(file: Path, done: int, batches: Callable, batch_size: int) -> None:
    """Compute the batches again that hold NaN, whole: a row may depend on its batch in the last bit."""
    if not done:
        return
    vectors = np.memmap(file, dtype=np.float32, mode="r+", shape=(done, _dim(file)))
    for start in np.unique(np.flatnonzero(np.isnan(vectors[:, 0])) // batch_size) * batch_size:
        stop = min(int(start) + batch_size, done)
        vectors[start:stop] = np.concatenate(list(batches(int(start), stop)))
    vectors.flush()


def _stretch(part: Path) -> tuple[int, int]:
    """(start, stop) of the rows in a part's file."""
    _, start, stop = part.stem.partition("-")[0].split("_")
    return int(start), int(stop)


def _dim(file: Path) -> int:
    return int(file.stem.partition("-")[2])
