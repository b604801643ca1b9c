"""Rows in the making: raw float32 files in one folder, to which batches are appended, until all rows are there.

`rows-<numbers a row>.f32` holds the rows from the first on. Where several processes share the rest out, each appends to
a file of its own, which are joined at the end. A killed attempt is gone on with, by any number of processes.
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from clipknight.files import errors_name
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

Batches = Callable[[int, int], Iterator[np.ndarray]]  # (start, stop) -> rows of that stretch, NaN for what has none


def compute_rows(folder: Path, rows: int, batches: Batches, batch_size: int, label: str) -> None:
    """Compute what is missing of so many rows, shared out among the processes."""
    if process_count() > 1:
        _share_out(folder, rows, batches, batch_size, label)
    else:
        _append(folder, "rows", rows, batches, batch_size, label)


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


def _share_out(folder: Path, rows: int, batches: Batches, batch_size: int, label: str) -> None:
    """Append the rows that are not there yet, a stretch of whole batches by each process; the main one joins them."""
    done = of_main_process(lambda: _whole_batches(_raw_file(folder, "rows"), rows, batches, batch_size))
    stretches = [(done + start, done + stop) for start, stop in stretches_of(rows - done, batch_size)]
    start, stop = stretches[process_index()]
    names = [f"part_{start}_{stop}" for start, stop in stretches]
    own = names[process_index()]
    _append(folder, own, stop - start, lambda a, b: batches(start + a, start + b), batch_size, label)
    wait_for_everyone()
    if in_main_process():
        for part in filter(None, (_raw_file(folder, name) for name in names)):
            whole = folder / f"rows-{_dim(part)}.f32"
            with errors_name(whole), open(part, "rb") as source, open(whole, "ab") as target:
                shutil.copyfileobj(source, target)


def _append(folder: Path, name: str, rows: int, batches: Batches, batch_size: int, label: str) -> None:
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


def _whole_batches(file: Path | None, rows: int, batches: Batches, batch_size: int) -> int:
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


def _compute_nan_again(file: Path, done: int, batches: Batches, batch_size: int) -> None:
    """Compute the batches again that hold NaN, whole: a row may depend on its batch in the last bit."""
    if not done:
        return
    vectors = np.memmap(file, dtype=np.float32, mode="r+", shape=(done, _dim(file)))
    for start in np.unique(np.flatnonzero(np.isnan(vectors[:, 0])) // batch_size) * batch_size:
        stop = min(int(start) + batch_size, done)
        vectors[start:stop] = np.concatenate(list(batches(int(start), stop)))
    vectors.flush()


def _dim(file: Path) -> int:
    return int(file.stem.partition("-")[2])
