"""Tables of captions, read strictly: CSV (commas, tabs, semicolons or bars between fields) and Parquet."""

import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path

from clipknight.messages import a_few

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet

KNOWN_PAIRS = (("image_name", "comment"), ("imgId", "prompt"), ("video", "caption"))  # read without being named


@dataclass(frozen=True)
class Columns:
    """Names of the columns of a table of captions."""

    image: str = "image"
    caption: str = "caption"
    split: str = "split"  # may be absent


@dataclass(frozen=True)
class CaptionTable:
    """`rows`: name, caption, number (where the row starts, counted from 1) and, where the table has one, split.

    `place` goes before a number in messages ("captions.txt, line"). No caption is missing: an empty cell is "".
    """

    rows: pd.DataFrame
    image_column: str
    place: str


def read_caption_table(path: str | Path, columns: Columns = Columns()) -> CaptionTable:
    """Read a CSV (.csv, .txt, .tsv) or .parquet table. ValueError with file and line for whatever is wrong in it."""
    path = Path(path)
    table = _read_parquet(path, columns) if path.suffix.lower() == ".parquet" else _read_csv(path, columns)
    if table.rows.empty:
        raise ValueError(f"{path} has a header and no rows")
    return table


def read_text(path: str | Path) -> str:
    """The text of a UTF-8 file, its byte order mark left out. ValueError says where it is not UTF-8."""
    data = Path(path).read_bytes()
    try:
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{path}, line {line}: byte {data[error.start]:#04x} is not UTF-8; save the file as UTF-8"
        ) from None


def _read_csv(path: Path, columns: Columns) -> CaptionTable:
    text = read_text(path)
    first = re.split(r"[\r\n]", text, maxsplit=1)[0]
    headers = {d: [cell.strip() for cell in next(csv.reader([first], delimiter=d), [])] for d in ",\t;|"}
    delimiter, pair = next(((d, p) for d, cells in headers.items() if (p := _pair(cells, columns))), (",", None))
    header = headers[delimiter]
    if pair is None:
        raise _wrong_header(path, header, columns)
    if delimiter == "|":
        # Flickr30k's own results.csv lacks one bar: "2199200615.jpg| 4   A dog runs across the grass ."
        text = re.sub(r"(?m)^([^|\r\n]+\| *\d+) {2,}(?=[^|\r\n]+$)", r"\1| ", text)
    numbers, rows = _csv_rows(path, text, delimiter)
    widths = np.fromiter(map(len, rows), int, len(rows))
    wrong = np.flatnonzero((widths != len(header)) & (widths > 0))  # a blank line has no field
    if len(wrong):
        raise ValueError(
            f"{path}, line {a_few(numbers[wrong])}: {widths[wrong[0]]} fields (the header has {len(header)});"
            ' a caption with a comma in it needs double quotes, as in a.jpg,"a dog, running"'
        )
    rows, numbers = [row for row in rows[1:] if row], numbers[1:][widths[1:] > 0]
    cells = {"name": pair[0], "caption": pair[1], **({"split": columns.split} if columns.split in header else {})}
    frame = pd.DataFrame({name: _column(rows, header, cell, path) for name, cell in cells.items()}, dtype="str")
    if delimiter == "|":  # written with a space after each bar
        frame = frame.apply(lambda column: column.str.strip())
    return CaptionTable(frame.assign(number=numbers), pair[0], f"{path.name}, line")


def _csv_rows(path: Path, text: str, delimiter: str) -> tuple[np.ndarray, list[list[str]]]:
    """The line each row starts on, and the rows, header included."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows, ends = [], [0]
    try:
        for row in reader:
            rows.append(row)
            ends.append(reader.line_num)
    except csv.Error as error:
        raise ValueError(f"{path}: the row that starts on line {ends[-1] + 1} is broken: {error}") from None
    return np.array(ends[:-1]) + 1, rows


def _column(rows: list[list[str]], header: list[str], cell: str, path: Path) -> list[str]:
    if header.count(cell) > 1:
        raise ValueError(f"{path} has {header.count(cell)} columns named {cell!r}")
    at = header.index(cell)
    return [row[at] for row in rows]


def _read_parquet(path: Path, columns: Columns) -> CaptionTable:
    try:
        header = pyarrow.parquet.read_schema(path).names
    except pyarrow.ArrowInvalid as error:
        raise ValueError(f"{path} is not a Parquet file: {error}") from None
    pair = _pair(header, columns)
    if pair is None:
        raise _wrong_header(path, header, columns)
    split = [columns.split] if columns.split in header else []
    frame = pd.read_parquet(path, columns=[*pair, *split])
    if not pd.api.types.is_string_dtype(frame[pair[1]]):
        raise ValueError(f"{path}: the column {pair[1]!r} holds {frame[pair[1]].dtype}, not text, one caption a row")
    frame = frame.set_axis(["name", "caption", "split"][: frame.shape[1]], axis=1).astype("str").fillna("")
    return CaptionTable(frame.assign(number=np.arange(1, len(frame) + 1)), pair[0], f"{path.name}, row")


def _pair(header: list[str], columns: Columns) -> tuple[str, str] | None:
    """The names of the image and the caption column, None if the header lacks any that it should have."""
    if columns.split != Columns.split and columns.split not in header:
        return None
    return next((pair for pair in _pairs(columns) if set(pair) <= set(header)), None)


def _pairs(columns: Columns) -> list[tuple[str, str]]:
    named = (columns.image, columns.caption)
    return [named, *KNOWN_PAIRS] if named == (Columns.image, Columns.caption) else [named]


def _wrong_header(path: Path, header: list[str], columns: Columns) -> ValueError:
    needed = " or ".join(",".join(pair) for pair in _pairs(columns))
    needed += f" and {columns.split}" if columns.split != Columns.split else ""
    return ValueError(
        f"{path}: the header needs the columns {needed}, but is {a_few(map(repr, header), 8)};"
        " for other names use --image_column, --caption_column and --split_column"
    )
