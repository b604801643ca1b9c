"""An approximate index of rows in parts: built part by part on disk, merged by faiss, and searched where it lies.

Where Ray does work in parts, its workers build them, and they are not merged: workers search them too.
"""

import ctypes
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from clipknight.embedding.cells import SAMPLED_ROWS, cells_for, centres_of, sample
from clipknight.embedding.embeddings import CHUNK_ROWS
from clipknight.embedding.row_parts import RowParts
from clipknight.engines.workers import Place, results
from clipknight.ensemble.part_search import IndexInParts
from clipknight.files import atomic_file, one_at_a_time
from clipknight.preparation import wanted_engine
from clipknight.saved_files import read_description
from clipknight.waiting import progress_bar, waiting

import faiss
import numpy as np
from faiss.contrib.ondisk import merge_ondisk

INDEX, LISTS = "index.faiss", "lists.ivfdata"
BEGUN = "begun.json"  # of what rows the parts of an unfinished index are
LEAST_FOR_PQ = 256  # rows that its codes are learnt from
READ = faiss.IO_FLAG_READ_ONLY | faiss.IO_FLAG_ONDISK_SAME_DIR  # lists on disk are memory-mapped without a flag


def trained_index(keys, kind: str, params: Mapping[str, int]) -> faiss.IndexIVF:
    """faiss's index "ivf_sq8" or "ivf_pq", empty, as it suits `keys` (n, d), an array or RowParts."""
    rows, dim = keys.shape
    lists = params.get("nlist", cells_for(rows))
    if lists > rows:
        raise ValueError(f"index_params: nlist={lists} is more than the {rows} keys")
    sampled = sample(keys, max(SAMPLED_ROWS * lists, LEAST_FOR_PQ))
    quantizer = faiss.IndexFlatL2(dim)
    quantizer.add(centres_of(sampled, lists))
    if kind == "ivf_sq8":
        index = faiss.IndexIVFScalarQuantizer(quantizer, dim, lists, faiss.ScalarQuantizer.QT_8bit)
    else:
        index = faiss.IndexIVFPQ(quantizer, dim, lists, _pieces(rows, dim, params), 8)
    quantizer.this.disown()
    index.own_fields = True  # the index deletes its quantizer
    index.nprobe = params.get("nprobe", min(lists, max(16, lists // 8)))
    index.train(sampled)
    return index


def build_on_disk(keys: RowParts, kind: str, params: Mapping[str, int], folder: Path) -> faiss.Index:
    """The index of `keys` in `folder`, see `index_files`. After a kill, the parts that were finished stay.

    Each part takes the memory of its codes, the merging no more than one list's.
    """
    begun = {"shape": list(keys.shape), "parts": [len(p) for p in keys.parts], "kind": kind, "params": dict(params)}
    with one_at_a_time(folder):
        _begin(folder, begun)
        trained = folder / "trained.faiss"
        if not trained.is_file():
            with waiting(f"finding the cells of {len(keys):,} keys"):
                _write(trained_index(keys, kind, params), trained)
        files = [folder / f"part-{number:05}.faiss" for number in range(len(keys.parts))]
        _build_parts(keys, trained, files, kind)
        if wanted_engine().name != "ray":
            with waiting(f"merging {len(files)} parts"), _silenced():
                index = faiss.read_index(str(trained))
                merge_ondisk(index, [str(file) for file in files], str(folder / LISTS))
                _write(index, folder / INDEX)
            del index
            for file in files:
                file.unlink()
        trained.unlink()
        (folder / BEGUN).unlink()
    return read_on_disk(folder)


def index_files(folder: Path) -> list[Path]:
    """The files of an index in `folder`: merged, or of its parts."""
    return sorted(folder.glob("part-*.faiss")) or [folder / INDEX, folder / LISTS]


def read_on_disk(folder: Path) -> faiss.Index | IndexInParts:
    """The index in `folder`, its lists memory-mapped. RuntimeError, as faiss has it, for a broken one."""
    if parts := sorted(folder.glob("part-*.faiss")):
        return IndexInParts(parts)
    with _silenced():
        return faiss.read_index(str(folder / INDEX), READ)


@contextmanager
def _silenced() -> Iterator[None]:
    """Have faiss print nothing: it tells standard output, which may be a result, about files that it opens."""
    flush = getattr(ctypes.CDLL(None), "fflush", None) if os.name == "posix" else None
    if flush is None:
        yield
        return
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    flush(None)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        flush(None)
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def _begin(folder: Path, begun: dict) -> None:
    """Make `folder`, and throw away what was begun in it of other keys."""
    file = folder / BEGUN
    if not (file.is_file() and read_description(file, f"delete {folder}") == json.loads(json.dumps(begun))):
        shutil.rmtree(folder, ignore_errors=True)
        with atomic_file(file) as temporary:
            temporary.write_text(json.dumps(begun), encoding="utf-8")


@dataclass(frozen=True, eq=False)
class _Codes:
    """Work on a part, (the number of its first key, its keys as they are stored): its index, serialized."""

    trained: np.ndarray
    at_length_one: bool

    def ready(self, place: Place) -> "_Codes":
        return self

    def __call__(self, part: tuple[int, np.ndarray]) -> np.ndarray:
        index, (first, keys) = faiss.deserialize_index(self.trained), part
        for start, piece in RowParts([keys], self.at_length_one).pieces(CHUNK_ROWS):
            index.add_with_ids(piece, np.arange(first + start, first + start + len(piece)))
        return faiss.serialize_index(index)


class _Stretches(Sequence):
    """The parts as `_Codes` takes them, read as they are asked for."""

    def __init__(self, keys: RowParts):
        self.keys = keys

    def __len__(self) -> int:
        return len(self.keys.parts)

    def __getitem__(self, number: int) -> tuple[int, np.ndarray]:
        return int(self.keys.starts[number]), np.asarray(self.keys.parts[number])


def _build_parts(keys: RowParts, trained: Path, files: Sequence[Path], kind: str) -> None:
    """The index of each part that has none yet."""
    lacking = [number for number, file in enumerate(files) if not file.is_file()]
    work = _Codes(faiss.serialize_index(faiss.read_index(str(trained))), keys.at_length_one)
    done = len(keys) - sum(len(keys.parts[number]) for number in lacking)
    with progress_bar(total=len(keys), initial=done, desc=f"{kind} index", unit="row") as bar:
        for number, codes in results(work, _Stretches(keys), lacking, 0):
            _write(faiss.deserialize_index(codes), files[number])
            bar.update(len(keys.parts[number]))


def _write(index: faiss.Index, file: Path) -> None:
    with atomic_file(file) as temporary:
        faiss.write_index(index, str(temporary))


def _pieces(rows: int, dim: int, params: Mapping[str, int]) -> int:
    """Into how many pieces, a byte each, ivf_pq cuts a key: by default of 8 numbers, or of the next more that fit."""
    if rows < LEAST_FOR_PQ:
        raise ValueError(f"index 'ivf_pq' learns its codes from {LEAST_FOR_PQ} keys or more, not {rows}: use 'exact'")
    pieces = params.get("m", next(m for m in range(max(1, dim // 8), 0, -1) if dim % m == 0))
    if dim % pieces:
        raise ValueError(f"index_params: m={pieces} does not divide the {dim} numbers of a key")
    return pieces
