"""The submission: a CSV of one number a row, `<imgId>_<0..383>,<value>`, written, read back and checked."""

from collections.abc import Iterator
from pathlib import Path

from clipknight.embedding.embeddings import Embeddings, unit
from clipknight.ensemble.submission_rows import HEADER, read_table, row_batches, row_parts
from clipknight.files import atomic_file
from clipknight.messages import a_few, shortened

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

CHUNK_ROWS = 2**19  # written at a time


def write_submission(predictions: Embeddings, path: str | Path, sample: str | Path | None = None) -> None:
    """Write the unit rows of `predictions`, in the order of `sample`, else sorted by id, then number.

    Values are the shortest text of the float32. A chunk of rows at a time is in memory, of the sample's too. ValueError
    for a zero vector, which has no direction, and for rows that differ from the sample's.
    """
    zero = predictions.ids[~np.any(predictions.vectors, axis=1)]
    if len(zero) or not len(predictions):
        raise ValueError(f"{len(zero):,} of {len(predictions):,} predictions are zero vectors: {a_few(zero)}")
    places = _places_by_id(predictions) if sample is None else _places_asked(predictions, sample)
    with atomic_file(path) as temporary, open(temporary, "wb") as file:
        file.write(f"{HEADER}\n".encode())
        for chunk in places:
            file.write(_lines(predictions, chunk))


def _places_by_id(predictions: Embeddings) -> Iterator[np.ndarray]:
    """Where each row to write is among all numbers of `predictions`: sorted by id, then number."""
    images, order = max(1, CHUNK_ROWS // predictions.dim), np.argsort(predictions.ids, kind="stable")
    for start in range(0, len(order), images):
        yield (order[start : start + images, None] * predictions.dim + np.arange(predictions.dim)).ravel()


def _places_asked(predictions: Embeddings, sample: str | Path) -> Iterator[np.ndarray]:
    """The same, row by row of a sample. ValueError, at its end, where its rows are not those of `predictions`."""
    given, asked, missing = np.zeros(predictions.vectors.size, dtype=bool), 0, 0
    few: list[str] = []  # of the missing
    for names, places, _ in _located(predictions, sample):
        known = places >= 0
        asked, missing = asked + len(names), missing + int((~known).sum())
        few += names.filter(pa.array(~known)).slice(0, 3).to_pylist() if len(few) < 3 else []
        given[places[known]] = True
        yield places[known]
    extra = np.flatnonzero(~given)
    names = [f"{predictions.ids[place // predictions.dim]}_{place % predictions.dim}" for place in extra[:3]]
    differences = [
        f"{count:,} rows {what}, such as {a_few(rows[:3])}"
        for count, rows, what in ((missing, few, "are missing"), (len(extra), names, "are not asked for"))
        if count
    ]
    if not differences and asked != len(given):
        differences = [f"{len(given):,} rows, not {asked:,}: the sample gives some twice"]
    if differences:
        raise ValueError(f"the submission differs from {sample}: {'; '.join(differences)}")


def check_written(predictions: Embeddings, path: str | Path) -> None:
    """Read a submission back, a part at a time. ValueError unless it has each number of `predictions`, once."""
    left, rows = np.ones(predictions.vectors.size, dtype=bool), 0
    for _, places, values in _located(predictions, path):
        left[places] = False
        if (places < 0).any() or (rows := rows + len(places)) > len(left):
            raise ValueError(f"{path} has rows that were not written")
        if not np.allclose(values, _numbers(predictions, places)[1], atol=1e-6):
            raise ValueError(f"{path} does not read back as it was written")
    if left.any():
        raise ValueError(f"{path} lacks {left.sum():,} of the rows that were written")


def _located(predictions: Embeddings, path: str | Path) -> Iterator[tuple[pa.Array, np.ndarray, np.ndarray]]:
    """Names and values of a file's rows, and where each is among all numbers of `predictions`; -1 for nowhere."""
    index = pd.Index(predictions.ids)
    for names, values, parts in row_batches(path):
        ids = pc.struct_field(parts, "id").dictionary_encode()
        image = index.get_indexer(ids.dictionary.to_numpy(zero_copy_only=False))[ids.indices.to_numpy()]
        number = pc.struct_field(parts, "number").cast(pa.int64()).to_numpy()
        place = np.where((image >= 0) & (number < predictions.dim), image * predictions.dim + number, -1)
        yield names, place, values


def _lines(predictions: Embeddings, places: np.ndarray) -> memoryview:
    """The lines of some numbers of the vectors, by their place in all of them."""
    ids, values = _numbers(predictions, places)
    names = _joined(ids, "_", pa.array(places % predictions.dim).cast(pa.large_string()))
    quoted = pc.match_substring_regex(names, '[,"\r\n]')
    if pc.any(quoted).as_py():
        names = pc.if_else(quoted, _joined('"', pc.replace_substring(names, '"', '""'), '"'), names)
    values = pa.array(values).cast(pa.large_string())
    return memoryview(_joined(names, ",", values, "\n").buffers()[2])  # the lines' text, end to end


def _numbers(predictions: Embeddings, places: np.ndarray) -> tuple[pa.Array, np.ndarray]:
    """The image's id, and the number of its unit vector, at some places."""
    images, numbers = np.divmod(places, predictions.dim)
    used, at = np.unique(images, return_inverse=True)
    vectors = unit(np.asarray(predictions.vectors[used], dtype=np.float64)).astype(np.float32)
    ids = pa.array(np.asarray(predictions.ids[used], dtype=object), pa.large_string())
    return ids.take(pa.array(at)), vectors[at, numbers]


def read_submission(path: str | Path) -> Embeddings:
    """The vectors of a submission by image id, in order of appearance.

    The id is what stands before the last underscore. ValueError names the line or image of a wrong header or row, NaN,
    a row given twice, and a missing one.
    """
    table = read_table(path)
    names, values = table[0], table[1].to_numpy()
    parts = row_parts(path, names)
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise ValueError(f"{path}, line {bad[0] + 2}: the value of {shortened(names[bad[0]])} is {values[bad[0]]}")
    encoded = pc.struct_field(parts, "id").combine_chunks().dictionary_encode()
    image, ids = encoded.indices.to_numpy().astype(np.int64), encoded.dictionary.to_numpy(zero_copy_only=False)
    number = pc.struct_field(parts, "number").cast(pa.int64()).to_numpy()
    dim = int(number.max()) + 1
    twice = np.flatnonzero(pd.Index(image * dim + number).duplicated())
    if len(twice):
        raise ValueError(f"{path}, line {twice[0] + 2}: {shortened(names[twice[0]])} is given a second time")
    short = np.flatnonzero(np.bincount(image) < dim)
    if len(short):
        there = number[image == short[0]]
        lacking = np.setdiff1d(np.arange(min(dim, len(there) + 5)), there)
        raise ValueError(
            f"{path}: {len(short):,} of {len(ids):,} images lack rows: {shortened(ids[short[0]])!r} has {len(there)} "
            f"of {dim}, without {a_few(lacking)} (line {np.argmax(number) + 2} has number {dim - 1})"
        )
    vectors = np.empty((len(ids), dim), dtype=np.float32)
    vectors[image, number] = values
    return Embeddings(ids, vectors, {"submission": str(path)})


def _joined(*parts: pa.Array | str) -> pa.Array:
    """Texts end to end, row by row; a str goes into every row."""
    text = pa.large_string()
    return pc.binary_join_element_wise(
        *(pa.scalar(p, text) if isinstance(p, str) else p for p in parts), pa.scalar("", text)
    )
