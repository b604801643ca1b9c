"""Tables of captions, read strictly: CSV (commas, tabs, semicolons or bars between fields), Parquet, lists of lines."""

import re
from dataclasses import dataclass
from pathlib import Path

from clipknight.data.caption_lines import form_of, read_caption_lines
from clipknight.data.delimited import Delimited, read_delimited
from clipknight.data.settings import Columns
from clipknight.data.text_files import read_text, refuse_stream
from clipknight.messages import a_few, advice, shortened

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet

# Read without being named: Flickr30k's, the competition's, tables of clips, and MSR-VTT's 1k-A list.
KNOWN_PAIRS = (("image_name", "comment"), ("imgId", "prompt"), ("video", "caption"), ("video_id", "sentence"))
# And any of these with any of those, the first that is there: as 🤗 datasets, open_clip, DiffusionDB and users write.
IMAGE_NAMES = (
    "image",
    "file_name",
    "image_name",
    "filename",
    "file",
    "filepath",
    "image_path",
    "image_file",
    "picture",
)
CAPTION_NAMES = ("caption", "text", "prompt", "title")
OF_VIDEOS = ("video", "video_id")


@dataclass(frozen=True)
class CaptionTable:
    """`rows`: name, caption, number (where the row starts, counted from 1) and, where the table has one, split.

    `place` goes before a number in messages ("captions.txt, line"). No caption is missing: an empty cell is "".
    """

    rows: pd.DataFrame
    image_column: str
    place: str

    @property
    def names_videos(self) -> bool:
        return self.image_column in OF_VIDEOS


def read_caption_table(path: str | Path, columns: Columns = Columns()) -> CaptionTable:
    """Read a CSV (.csv, .txt, .tsv) or .parquet table. ValueError with file and line for whatever is wrong in it."""
    path = Path(path)
    refuse_stream(path)
    if path.suffix.lower() == ".parquet":
        table = _read_parquet(path, columns)
    elif form := form_of(_first_line(path)):
        place = f"{path.name}, line"
        table = CaptionTable(read_caption_lines(path, read_text(path), form), form.media, place)
    else:
        table = _read_csv(path, columns)
    if table.rows.empty:
        raise ValueError(f"{path} has a header and no rows")
    return table


def is_caption_table(path: Path, columns: Columns = Columns()) -> bool:
    """By suffix, or by first line: Flickr8k's captions.txt is a table, MSVD's .tsv of captions and ids is none."""
    if path.suffix.lower() in (".csv", ".parquet"):
        return True
    first = _first_line(path)
    header = re.split(r"\s*[,\t;|]\s*", first.strip())
    return form_of(first) is not None or columns.caption in header or _pair(header, columns) is not None


def fits(path: Path, columns: Columns = Columns()) -> bool:
    """Whether the header of a table has the columns asked for, or known ones."""
    if path.suffix.lower() == ".parquet":
        try:
            header = pyarrow.parquet.read_schema(path).names
        except (pyarrow.ArrowException, OSError):
            return False
    else:
        header = [cell.strip().strip('"') for cell in re.split("[,\t;|]", _first_line(path))]
    return _pair(header, columns) is not None


def _first_line(path: Path) -> str:
    """Up to 10,000 characters of a file's first line that is neither blank nor a remark."""
    refuse_stream(path)
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        for _ in range(20):
            if (line := file.readline(10_000)).strip() and not line.startswith("#"):
                return line.rstrip("\r\n")
    return ""


def _read_csv(path: Path, columns: Columns) -> CaptionTable:
    table = read_delimited(path, lambda header: _pair(header, columns) is not None, _with_all_bars)
    pair = _pair(table.header, columns)
    if pair is None:
        raise _wrong_header(path, table.header, columns)
    cells = _cells(table.header, pair, columns)
    frame = pd.DataFrame({name: table.column(cell) for name, cell in cells.items()}, dtype="str")
    if pair == KNOWN_PAIRS[0]:
        frame["caption"] = _comments(table, frame["caption"])
    if table.delimiter == "|":  # written with a space after each bar
        frame = frame.apply(lambda column: column.str.strip())
    return CaptionTable(frame.assign(number=table.numbers), pair[0], f"{path.name}, line")


# Flickr30k's own results.csv lacks one bar: "2199200615.jpg| 4   A dog runs across the grass ."


def _with_all_bars(text: str, delimiter: str) -> str:
    if delimiter != "|":
        return text
    return re.sub(r"(?m)^([^|\r\n]+\| *\d+) {2,}(?=[^|\r\n]+$)", r"\1| ", text)


def _comments(table: Delimited, comments: pd.Series) -> pd.Series:
    """Flickr30k's captions; in copies of its table with commas, the row without a bar has the caption in its number."""
    if "comment_number" in table.header:
        beside = pd.Series(table.column("comment_number"), dtype="str").str.extract(r"^ *\d+ {2,}(\S.*)$")[0]
        comments = comments.where((comments.str.strip() != "") | beside.isna(), beside)
    return comments.str.strip()


def _read_parquet(path: Path, columns: Columns) -> CaptionTable:
    try:
        schema = pyarrow.parquet.read_schema(path)
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise ValueError(f"{path} is not a Parquet file, or cut off: {shortened(error)}") from None
    pair = _pair(schema.names, columns)
    if pair is None:
        raise _wrong_header(path, schema.names, columns)
    cells = _cells(schema.names, pair, columns)
    for cell in cells.values():
        if schema.names.count(cell) > 1:
            raise ValueError(f"{path} has {schema.names.count(cell)} columns named {cell!r}")
        _check_type(path, cell, schema.field(cell).type, is_name=cell == pair[0])
    try:
        table = pyarrow.parquet.ParquetFile(path).read(columns=list(cells.values()))
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"{path} is damaged or cut off: {shortened(error)}") from None
    texts = {name: table.column(cell).cast(pyarrow.large_string()).fill_null("") for name, cell in cells.items()}
    frame = pd.DataFrame({name: column.to_pandas() for name, column in texts.items()}, dtype="str")
    return CaptionTable(frame.assign(number=np.arange(1, len(frame) + 1)), pair[0], f"{path.name}, row")


def _check_type(path: Path, name: str, kind: pyarrow.DataType, is_name: bool) -> None:
    """ValueError unless a column of Parquet holds text; names may be whole numbers."""
    if pyarrow.types.is_dictionary(kind):
        kind = kind.value_type
    types = pyarrow.types
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return
    if is_name and types.is_integer(kind):
        return
    if is_name and (types.is_struct(kind) or types.is_binary(kind) or types.is_large_binary(kind)):
        raise ValueError(
            f"{path}: the column {name!r} holds pictures themselves, not names of files: save each one as a file (its "
            "'bytes'), and a table of image,caption with the files' names"
        )
    wanted = "names of files" if is_name else "text, one caption a row"
    raise ValueError(f"{path}: the column {name!r} holds {shortened(kind)}, not {wanted}")


def _pair(header: list[str], columns: Columns) -> tuple[str, str] | None:
    """The names of the image and the caption column, None if the header lacks any that it should have."""
    if columns.split not in (Columns.split, *header) and not columns.of_another:
        return None
    pairs = _pairs(columns)
    if len(pairs) > 1:  # none is asked for
        pairs += [(image, caption) for caption in CAPTION_NAMES for image in IMAGE_NAMES]
    return next((pair for pair in pairs if set(pair) <= set(header)), None)


def _pairs(columns: Columns) -> list[tuple[str, str]]:
    named, usual = (columns.image, columns.caption), (Columns.image, Columns.caption)
    if named == usual:
        return [usual, *KNOWN_PAIRS]
    return [named, usual, *KNOWN_PAIRS] if columns.of_another else [named]


def _cells(header: list[str], pair: tuple[str, str], columns: Columns) -> dict[str, str]:
    """The column of each of a table's own: name, caption and, where there is one, split."""
    splits = (columns.split, Columns.split) if columns.of_another else (columns.split,)
    split = next((name for name in splits if name in header), None)
    return {"name": pair[0], "caption": pair[1]} | ({"split": split} if split else {})


def _wrong_header(path: Path, header: list[str], columns: Columns) -> ValueError:
    needed = " or ".join(",".join(pair) for pair in _pairs(columns))
    needed += f" and {columns.split}" if columns.split != Columns.split and not columns.of_another else ""
    return ValueError(
        f"{path}: the header needs the columns {needed}, but is {a_few(map(repr, header), 8) or 'empty'}"
        + (advice("; for other names use --image_column, --caption_column and --split_column") or "; rename them so")
    )
