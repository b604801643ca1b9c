"""The submission: a CSV of one number a row, `<imgId>_<0..383>,<value>`, written, read back and checked."""

from pathlib import Path

from clipknight.embedding.embeddings import Embeddings, unit
from clipknight.files import atomic_file
from clipknight.messages import a_few

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

HEADER = "imgId_eId,val"
CHUNK_IMAGES = 1024


def write_submission(predictions: Embeddings, path: str | Path) -> None:
    """Write the unit rows of `predictions`, sorted by id, then number; values as the shortest text of the float32.

    ValueError for a zero vector, which has no direction, and for an id with a quote or a line break.
    """
    odd = [i for i in predictions.ids if any(c in i for c in '"\r\n')]
    if odd:
        raise ValueError(f"ids with a quote or a line break cannot go into a submission: {a_few(map(repr, odd))}")
    zero = predictions.ids[~np.any(predictions.vectors, axis=1)]
    if len(zero) or not len(predictions):
        raise ValueError(f"{len(zero):,} of {len(predictions):,} predictions are zero vectors: {a_few(zero)}")
    order = np.argsort(predictions.ids, kind="stable")
    with atomic_file(path) as temporary, open(temporary, "wb") as file:
        file.write(f"{HEADER}\n".encode())
        for start in range(0, len(order), CHUNK_IMAGES):
            rows = order[start : start + CHUNK_IMAGES]
            vectors = unit(np.asarray(predictions.vectors[rows], dtype=np.float64)).astype(np.float32)
            names = _row_names(predictions.ids[rows], predictions.dim)
            if any("," in i for i in predictions.ids[rows]):
                names = pc.if_else(pc.match_substring(names, ","), _joined('"', names, '"'), names)
            values = pa.array(vectors.ravel()).cast(pa.large_string())
            lines = _joined(names, ",", values, "\n")
            file.write(lines.buffers()[2])  # the lines' text, end to end


def read_submission(path: str | Path) -> Embeddings:
    """The vectors of a submission by image id, in order of appearance.

    The id is what stands before the last underscore. ValueError names the line or image of a wrong header or row, NaN,
    a row given twice, and a missing one.
    """
    table = _read_table(path)
    names, values = table[0], table[1].to_numpy()
    parts = pc.extract_regex(names, r"(?s)^(?P<id>.*)_(?P<number>0|[1-9][0-9]{0,8})$")
    wrong = np.flatnonzero(parts.is_null().to_numpy())
    if len(wrong):
        raise ValueError(f"{path}, line {wrong[0] + 2}: {names[wrong[0]].as_py()!r} is not <imgId>_<number>")
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise ValueError(f"{path}, line {bad[0] + 2}: the value of {names[bad[0]].as_py()} is {values[bad[0]]}")
    encoded = pc.struct_field(parts, "id").combine_chunks().dictionary_encode()
    image, ids = encoded.indices.to_numpy().astype(np.int64), encoded.dictionary.to_numpy(zero_copy_only=False)
    number = pc.struct_field(parts, "number").cast(pa.int64()).to_numpy()
    dim = int(number.max()) + 1
    twice = np.flatnonzero(pd.Index(image * dim + number).duplicated())
    if len(twice):
        raise ValueError(f"{path}, line {twice[0] + 2}: {names[twice[0]].as_py()} is given a second time")
    short = np.flatnonzero(np.bincount(image) < dim)
    if len(short):
        there = number[image == short[0]]
        lacking = np.setdiff1d(np.arange(min(dim, len(there) + 5)), there)
        raise ValueError(
            f"{path}: {len(short):,} of {len(ids):,} images lack rows: {ids[short[0]]!r} has {len(there)} of {dim}, "
            f"without {a_few(lacking)} (line {np.argmax(number) + 2} has number {dim - 1})"
        )
    vectors = np.empty((len(ids), dim), dtype=np.float32)
    vectors[image, number] = values
    return Embeddings(ids, vectors, {"submission": str(path)})


def check_against_sample(submission: Embeddings | str | Path, sample: str | Path) -> None:
    """ValueError unless the submission, or the one these predictions make, has the sample's rows in its order."""
    asked = _read_table(sample)[0].combine_chunks()
    if isinstance(submission, Embeddings):
        names = _row_names(submission.ids[np.argsort(submission.ids, kind="stable")], submission.dim)
    else:
        names = _read_table(submission)[0].combine_chunks()
    names = names.cast(asked.type)
    if names.equals(asked):
        return
    missing = asked.filter(pc.invert(pc.is_in(asked, names)))
    extra = names.filter(pc.invert(pc.is_in(names, asked)))
    differences = [
        f"{len(rows):,} rows {what}, such as {a_few(rows.slice(0, 3).to_pylist())}"
        for rows, what in ((missing, "are missing"), (extra, "are not asked for"))
        if len(rows)
    ]
    if not differences and len(names) != len(asked):
        differences = [f"{len(names):,} rows, not {len(asked):,}"]
    if not differences:
        at = int(np.argmin(pc.equal(names, asked).to_numpy(zero_copy_only=False)))
        differences = [f"another order: line {at + 2} has {names[at].as_py()}, not {asked[at].as_py()}"]
    raise ValueError(f"the submission differs from {sample}: {'; '.join(differences)}")


def sample_ids(sample: str | Path) -> np.ndarray:
    """The image ids that a sample submission asks for, in its order."""
    names = pc.replace_substring_regex(_read_table(sample)[0], r"_[0-9]+$", "")
    return pc.unique(names).to_numpy(zero_copy_only=False)


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
        first = file.readline().decode("utf-8", "replace").removeprefix("\ufeff").rstrip("\r\n")
    if first != HEADER:
        raise ValueError(f"{path}: the header is {first[:80]!r}, not {HEADER!r}")
    types = {"imgId_eId": pa.large_string(), "val": pa.float32()}
    try:
        table = csv.read_csv(path, convert_options=csv.ConvertOptions(column_types=types, null_values=[]))
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path}: {error}") from None
    if not len(table):
        raise ValueError(f"{path} has a header and no rows")
    return table
