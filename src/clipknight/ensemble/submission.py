"""The submission: a CSV of one number a row, `<imgId>_<0..383>,<value>`, written, read back and checked."""

from pathlib import Path

from clipknight.embedding.embeddings import Embeddings, unit
from clipknight.files import atomic_file
from clipknight.messages import a_few, shortened

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

HEADER = "imgId_eId,val"
CHUNK_ROWS = 2**19


def write_submission(predictions: Embeddings, path: str | Path, sample: str | Path | None = None) -> None:
    """Write the unit rows of `predictions`, in the order of `sample`, else sorted by id, then number.

    Values are the shortest text of the float32. ValueError for a zero vector, which has no direction, and for rows that
    differ from the sample's.
    """
    zero = predictions.ids[~np.any(predictions.vectors, axis=1)]
    if len(zero) or not len(predictions):
        raise ValueError(f"{len(zero):,} of {len(predictions):,} predictions are zero vectors: {a_few(zero)}")
    if sample is not None:
        check_against_sample(predictions, sample)
        places = _places_in(predictions, sample)
    else:
        order = np.argsort(predictions.ids, kind="stable")
        places = (order[:, None] * predictions.dim + np.arange(predictions.dim)).ravel()
    with atomic_file(path) as temporary, open(temporary, "wb") as file:
        file.write(f"{HEADER}\n".encode())
        for start in range(0, len(places), CHUNK_ROWS):
            file.write(_lines(predictions, places[start : start + CHUNK_ROWS]))


def _lines(predictions: Embeddings, places: np.ndarray) -> memoryview:
    """The lines of some numbers of the vectors, by their place in all of them."""
    images, numbers = np.divmod(places, predictions.dim)
    used, at = np.unique(images, return_inverse=True)
    vectors = unit(np.asarray(predictions.vectors[used], dtype=np.float64)).astype(np.float32)
    ids = pa.array(np.asarray(predictions.ids[used], dtype=object), pa.large_string()).take(at)
    names = _joined(ids, "_", pa.array(numbers).cast(pa.large_string()))
    quoted = pc.match_substring_regex(names, '[,"\r\n]')
    if pc.any(quoted).as_py():
        names = pc.if_else(quoted, _joined('"', pc.replace_substring(names, '"', '""'), '"'), names)
    values = pa.array(vectors[at, numbers]).cast(pa.large_string())
    return memoryview(_joined(names, ",", values, "\n").buffers()[2])  # the lines' text, end to end


def _places_in(predictions: Embeddings, sample: str | Path) -> np.ndarray:
    """Where each row of a sample is among all numbers of `predictions`."""
    parts = _parts(sample, _read_table(sample)[0].combine_chunks())
    ids = pc.struct_field(parts, "id").dictionary_encode()
    image = pd.Index(predictions.ids).get_indexer(ids.dictionary.to_numpy(zero_copy_only=False))
    number = pc.struct_field(parts, "number").cast(pa.int64()).to_numpy()
    return image[ids.indices.to_numpy()] * predictions.dim + number


def read_submission(path: str | Path) -> Embeddings:
    """The vectors of a submission by image id, in order of appearance.

    The id is what stands before the last underscore. ValueError names the line or image of a wrong header or row, NaN,
    a row given twice, and a missing one.
    """
    table = _read_table(path)
    names, values = table[0], table[1].to_numpy()
    parts = _parts(path, names)
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


def check_against_sample(submission: Embeddings | str | Path, sample: str | Path) -> None:
    """ValueError unless the submission, or the one these predictions make, has the sample's rows, in any order."""
    asked = _read_table(sample)[0].combine_chunks()
    if isinstance(submission, Embeddings):
        names = _row_names(submission.ids, submission.dim)
    else:
        names = _read_table(submission)[0].combine_chunks()
    names = names.cast(asked.type)
    missing = asked.filter(pc.invert(pc.is_in(asked, names)))
    extra = names.filter(pc.invert(pc.is_in(names, asked)))
    differences = [
        f"{len(rows):,} rows {what}, such as {a_few(rows.slice(0, 3).to_pylist())}"
        for rows, what in ((missing, "are missing"), (extra, "are not asked for"))
        if len(rows)
    ]
    if not differences and len(names) != len(asked):
        differences = [f"{len(names):,} rows, not {len(asked):,}: some are given twice"]
    if differences:
        raise ValueError(f"the submission differs from {sample}: {'; '.join(differences)}")


def sample_ids(sample: str | Path) -> np.ndarray:
    """The image ids that a sample submission asks for, in its order."""
    parts = _parts(sample, _read_table(sample)[0].combine_chunks())
    return pc.unique(pc.struct_field(parts, "id")).to_numpy(zero_copy_only=False)


def _parts(path: str | Path, names: pa.Array) -> pa.Array:
    """The id and the number in each row's name. ValueError says which line has no such name."""
    parts = pc.extract_regex(names, r"(?s)^(?P<id>.*)_(?P<number>0|[1-9][0-9]{0,8})$")
    wrong = np.flatnonzero(parts.is_null().to_numpy(zero_copy_only=False))
    if len(wrong):
        raise ValueError(f"{path}, line {wrong[0] + 2}: {shortened(names[wrong[0]])!r} is not <imgId>_<number>")
    return parts


def _row_names(ids: np.ndarray, dim: int) -> pa.Array:
    """<id>_0 .. <id>_<dim - 1> of each id."""
    images = pa.array(np.asarray(ids, dtype=object), pa.large_string()).take(np.repeat(np.arange(len(ids)), dim))
    numbers = pa.array(np.arange(dim)).cast(pa.large_string()).take(np.tile(np.arange(dim), len(ids)))
    return _joined(images, "_", numbers)


def _joined(*parts: pa.Array | str) -> pa.Array:
    """Texts end to end, row by row; a str goes into every row."""
    text = pa.large_string()
    return pc.binary_join_element_wise(
        *(pa.scalar(p, text) if isinstance(p, str) else p for p in parts), pa.scalar("", text)
    )


def _read_table(path: str | Path) -> pa.Table:
    """The two columns, text and float32."""
    with open(path, "rb") as file:
        first = file.readline(1000).decode("utf-8", "replace").removeprefix("\ufeff").rstrip("\r\n")
    if first.replace('"', "") != HEADER:
        raise ValueError(f"{path}: the header is {shortened(first)!r}, not {HEADER!r}, as UTF-8 with a comma")
    types = {"imgId_eId": pa.large_string(), "val": pa.float32()}
    options = arrow_csv.ConvertOptions(column_types=types, null_values=[])
    rows = arrow_csv.ParseOptions(newlines_in_values=True)
    try:
        table = arrow_csv.read_csv(path, convert_options=options, parse_options=rows)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path}: {shortened(error, 200)}") from None
    if not len(table):
        raise ValueError(f"{path} has a header and no rows")
    return table
