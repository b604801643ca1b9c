"""Tables as text, read strictly: commas, tabs, semicolons or bars between fields, whichever fit the header."""

import csv
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from clipknight.data.text_files import read_text
from clipknight.messages import a_few, shortened

import numpy as np

DELIMITERS = ",\t;|"
LONGEST_HEADER = 100_000  # characters; the csv module refuses a longer field
SEPARATOR_LINE = re.compile(r'"?sep=([,\t;|])"?(?:\r\n|\r|\n)')  # Excel's own first line


@dataclass(frozen=True)
class Delimited:
    """`rows` below a `header`, each with as many fields; `numbers`, the line each starts on."""

    path: Path
    delimiter: str
    header: list[str]
    rows: list[list[str]]
    numbers: np.ndarray

    def column(self, name: str) -> list[str]:
        if self.header.count(name) > 1:
            raise ValueError(f"{self.path} has {self.header.count(name)} columns named {name!r}")
        at = self.header.index(name)
        return [row[at] for row in self.rows]


def read_delimited(path: Path, fits: Callable[[list[str]], bool], repair=lambda text, delimiter: text) -> Delimited:
    """The table in a file, under the first delimiter whose header `fits`; no rows where none does.

    `repair` may mend the text of a file known to be broken. ValueError with file and line for whatever is wrong.
    """
    text, skipped = read_text(path), 0
    delimiters = DELIMITERS
    if hint := SEPARATOR_LINE.match(text):
        text, delimiters, skipped = text[hint.end() :], hint[1], 1
    first = re.split(r"[\r\n]", text, maxsplit=1)[0][:LONGEST_HEADER]
    headers = {d: [cell.strip() for cell in next(csv.reader([first], delimiter=d), [])] for d in delimiters}
    delimiter = next((d for d, cells in headers.items() if fits(cells)), None)
    if delimiter is None:
        longest = max(headers, key=lambda d: len(headers[d]))
        return Delimited(path, longest, headers[longest], [], np.empty(0, int))
    header = headers[delimiter]
    numbers, rows = _rows(path, repair(text, delimiter), delimiter, skipped)
    widths = np.fromiter(map(len, rows), int, len(rows))
    wrong = np.flatnonzero((widths != len(header)) & (widths > 0))  # a blank line has no field
    if len(wrong):
        raise ValueError(
            f"{path}, line {a_few(numbers[wrong])}: {widths[wrong[0]]} fields (the header has {len(header)});"
            ' a caption with a comma in it needs double quotes, as in a.jpg,"a dog, running"'
        )
    return Delimited(path, delimiter, header, [row for row in rows[1:] if row], numbers[1:][widths[1:] > 0])


def _rows(path: Path, text: str, delimiter: str, skipped: int) -> tuple[np.ndarray, list[list[str]]]:
    """The line each row starts on, and the rows, header included."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows, ends = [], [0]
    try:
        for row in reader:
            rows.append(row)
            ends.append(reader.line_num)
    except csv.Error as error:
        start = ends[-1] + 1 + skipped
        raise ValueError(f"{path}: the row that starts on line {start} is broken: {shortened(error)}") from None
    return np.array(ends[:-1]) + 1 + skipped, rows
