"""Rows that are computed once and kept: appended batch by batch, gone on with after a kill, by one command at a time.

The processes of one command share the batches out. What failed does not stick: rows of images that could not be read
are tried again by the next call.
"""

import shutil
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from clipknight.data.images import find_unreadable
from clipknight.data.left_out import UnreadableMedia, note_unreadable
from clipknight.embedding.embeddings import Embeddings
from clipknight.embedding.raw_rows import ToCompute, compute_rows, open_rows, write_rows
from clipknight.files import one_at_a_time
from clipknight.messages import advice
from clipknight.processes import in_main_process, of_main_process, wait_for_everyone
from clipknight.saved_files import read_description

import numpy as np


def unreadable_or_nan(paths: Sequence[str]) -> ValueError:
    """The error for images without an embedding: they cannot be read, or the encoder itself gave NaN."""
    reasons = find_unreadable(paths)
    if nan := [path for path in paths if path not in reasons]:
        return ValueError(
            f"the encoder gives NaN for {len(nan)} images, {nan[0]} first" + advice(": try --precision fp32")
        )
    return UnreadableMedia(reasons)


def cached(
    folder: Path,
    ids: np.ndarray,
    to_compute: ToCompute,
    meta: dict,
    paths: Sequence[str] | None = None,
    skip_unreadable: bool = False,
    parts: int = 1,
) -> Embeddings:
    """The rows of `ids` in `folder`, which `meta` describes; computed first where it is not there.

    `paths` are the images' files, None for captions. UnreadableMedia unless they are skipped. A batch's rows are of so
    many equal `parts`: the first is the vector, the others are its regions.
    """
    if of_main_process(lambda: not _is_there(folder, ids, paths)):
        with one_at_a_time(folder) if in_main_process() else nullcontext():
            # Another command may have made it meanwhile.
            if of_main_process(lambda: not _is_there(folder, ids, paths)):
                _make(folder, ids, to_compute, meta, paths, skip_unreadable, parts)
    wait_for_everyone()
    embeddings = Embeddings.load(folder, fingerprint=meta["fingerprint"])
    if skipped := embeddings.meta.get("skipped"):
        reasons = find_unreadable(_paths_of(skipped, ids, paths))
        if not skip_unreadable:  # kept by a call that skipped them
            raise UnreadableMedia(reasons)
        note_unreadable(meta["dataset"], reasons)
    return embeddings


def _is_there(folder: Path, ids: np.ndarray, paths: Sequence[str] | None) -> bool:
    """Whether `folder` holds all rows that can be had: none that was left out can be read by now."""
    if not (folder / "meta.json").is_file():
        return False
    meta = read_description(folder / "meta.json", f"delete {folder}")
    left_out = _paths_of(meta.get("skipped", ()), ids, paths)
    return len(find_unreadable(left_out)) == len(left_out)


def _paths_of(skipped: Sequence[str], ids: np.ndarray, paths: Sequence[str] | None) -> list[str]:
    skipped = set(skipped)
    return [path for i, path in zip(ids, paths, strict=True) if i in skipped] if skipped else []


def _make(folder: Path, ids, to_compute: ToCompute, meta: dict, paths, skip_unreadable: bool, parts: int) -> None:
    partial = folder.with_name(folder.name + ".partial")
    partial.mkdir(parents=True, exist_ok=True)
    if in_main_process() and folder.is_dir():
        _reopen(folder, partial, ids)
    label = f"{meta['dataset']}: {meta['of']}"
    compute_rows(partial, to_compute, f"{label} (once)")
    if in_main_process():
        _keep(folder, ids, open_rows(partial, len(ids), label), meta, paths, skip_unreadable, parts)
        shutil.rmtree(partial)


def _keep(folder: Path, ids, vectors: np.ndarray, meta: dict, paths, skip_unreadable: bool, parts: int) -> None:
    # A caption's NaN is left to Embeddings, which refuses it by its id.
    unreadable = np.zeros(len(ids), bool) if paths is None else np.isnan(vectors[:, 0])
    if unreadable.any():
        error = unreadable_or_nan([paths[i] for i in np.flatnonzero(unreadable)])
        if unreadable.all() or not skip_unreadable or not isinstance(error, UnreadableMedia):
            raise error
        meta = {**meta, "skipped": [str(i) for i in np.asarray(ids)[unreadable]]}
        ids, vectors = np.asarray(ids)[~unreadable], vectors[~unreadable]
    vectors = vectors.reshape(len(vectors), parts, -1)
    Embeddings(ids, vectors[:, 0], meta, vectors[:, 1:] if parts > 1 else None).save(folder)


def _reopen(folder: Path, partial: Path, ids: np.ndarray) -> None:
    """Put the rows of a folder that left images out back into `partial`, NaN for those."""
    kept = Embeddings.load(folder)
    regions = kept.vectors[:, :0] if kept.regions is None else kept.regions.reshape(len(kept), -1)
    found = np.concatenate([kept.vectors, regions], axis=1)
    rows = np.full((len(ids), found.shape[1]), np.nan, dtype=np.float32)
    rows[~np.isin(np.asarray(ids, dtype=object), kept.meta["skipped"])] = found
    write_rows(partial, rows)
    shutil.rmtree(folder)
