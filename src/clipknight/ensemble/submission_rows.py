"""The rows of a submission's file, `<imgId>_<number>,<value>`: all at once, or a part of a large file at a time."""

import csv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from clipknight.data.text_files import refuse_packed, refuse_stream
from clipknight.messages import shortened

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

HEADER = "imgId_eId,val"
BLOCK_BYTES = 2**24  # read at a time


def sample_ids(sample: str | Path) -> np.ndarray:
    """The image ids that a sample submission asks for, in its order."""
    found = dict.fromkeys(
        id for *_, parts in row_batches(sample) for id in pc.struct_field(parts, "id").unique().to_pylist()
    )
    return np.array(list(found), dtype=object)


def row_batches(path: str | Path) -> Iterator[tuple[pa.Array, np.ndarray, pa.Array]]:
    """Names and values of the rows, and the ids and numbers in their names, a part of the file at a time."""
    line = 2
    with _opened(path, arrow_csv.open_csv, block_size=BLOCK_BYTES) as reader, _refusing(path):
        for batch in reader:
            yield batch[0], batch[1].to_numpy(zero_copy_only=False), row_parts(path, batch[0], line)
            line += len(batch)
    if line == 2:
        raise ValueError(f"{path} has a header and no rows")


def row_parts(path: str | Path, names: pa.Array, line: int = 2) -> pa.Array:
    """The id and the number in each row's name; the first row is on `line`. ValueError for one without such a name."""
    parts = pc.extract_regex(names, r"(?s)^(?P<id>.*)_(?P<number>0|[1-9][0-9]{0,8})$")
    wrong = np.flatnonzero(parts.is_null().to_numpy(zero_copy_only=False))
    if len(wrong):
        raise ValueError(f"{path}, line {wrong[0] + line}: {shortened(names[wrong[0]])!r} is not <imgId>_<number>")
    return parts


def read_table(path: str | Path) -> pa.Table:
    """The two columns, text and float32."""
    table = _opened(path, arrow_csv.read_csv)
    if not len(table):
        raise ValueError(f"{path} has a header and no rows")
    return table


def _opened(path: str | Path, opened: Callable, **options):
    """What one of pyarrow's readers of CSV makes of a submission. ValueError for another header."""
    refuse_stream(path)
    with open(path, "rb") as file:
        start = file.readline(1000)
    refuse_packed(path, start)
    first = start.decode("utf-8", "replace").removeprefix("\ufeff").rstrip("\r\n")
    if first.replace('"', "") != HEADER:
        raise ValueError(f"{path}: the header is {shortened(first)!r}, not {HEADER!r}, as UTF-8 with a comma")
    types = {"imgId_eId": pa.large_string(), "val": pa.float32()}
    convert = arrow_csv.ConvertOptions(column_types=types, null_values=[])
    parse, read = arrow_csv.ParseOptions(newlines_in_values=True), arrow_csv.ReadOptions(**options)
    with _refusing(path):
        return opened(path, read_options=read, convert_options=convert, parse_options=parse)


@contextmanager
def _refusing(path: str | Path) -> Iterator[None]:
    """ValueError, with the file, for what pyarrow cannot read."""
    try:
        yield
    except pa.ArrowInvalid as error:
        raise ValueError(_broken_row(path) or f"{path}: {shortened(error, 200)}") from None


def _broken_row(path: str | Path) -> str:
    """What is wrong with the first row that is none, and its line, which Arrow does not say; "" for nothing."""
    with open(path, encoding="utf-8", errors="replace", newline="") as file:
        rows = csv.reader(file)
        next(rows)
        try:
            for row in rows:
                if row and len(row) != 2:
                    return f"{path}, line {rows.line_num}: {len(row)} fields, not 2: {shortened(','.join(row))}"
                if row and not _is_number(row[1]):
                    value = f"the value of {shortened(row[0])} is {shortened(row[1])!r}, no number"
                    return f"{path}, line {rows.line_num}: {value}"
        except csv.Error as error:
            return f"{path}, line {rows.line_num}: {shortened(error)}"
    return ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
