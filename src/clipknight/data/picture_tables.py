"""Parquet files that hold the pictures themselves, as 🤗 datasets saves them: written as files beside one table."""

import csv
import hashlib
import posixpath
from collections.abc import Iterator
from pathlib import Path

from clipknight.data.caption_table import CAPTION_NAMES, IMAGE_NAMES, Columns
from clipknight.data.folders import suffix_of
from clipknight.data.images import IMAGE_SUFFIXES
from clipknight.data.listing import SPLIT_OF
from clipknight.files import has_room
from clipknight.messages import a_few, shortened

import pyarrow as pa
import pyarrow.parquet

BATCH = 64  # rows in memory
TABLE = "captions.csv"


def has_pictures(path: Path) -> bool:
    """Whether a Parquet file has a column of pictures."""
    try:
        return bool(_picture_columns(pyarrow.parquet.read_schema(path)))
    except (pa.ArrowException, OSError):
        return False  # the reader of tables says what is wrong with it


def write_pictures(files: list[Path], columns: Columns, folder: Path, captioned: bool = True) -> None:
    """Write every picture below `folder`/images, and a table of their captions and splits.

    The split is a column's, or is in a file's name. A picture without caption is there to be predicted. ValueError for
    a file without a column of captions, unless pictures need not be `captioned`.
    """
    (folder / "images").mkdir()
    written: dict[str, bytes] = {}
    of_file = {file: _split_of(file) for file in files}
    with_splits = any(of_file.values()) or any(columns.split in pyarrow.parquet.read_schema(f).names for f in files)
    with open(folder / TABLE, "w", newline="", encoding="utf-8") as handle:
        table = csv.writer(handle, quoting=csv.QUOTE_ALL)
        table.writerow([columns.image, columns.caption, *([columns.split] if with_splits else [])])
        for file in files:
            for number, (picture, name, captions, split) in enumerate(_rows(file, columns, captioned)):
                name = name or f"{file.stem}-{number:08d}"
                name = name if suffix_of(name) in IMAGE_SUFFIXES else f"{name}.png"  # readers go by the content
                name = _free_name(name, picture, written)
                if not has_room(folder, len(picture)):
                    raise ValueError(f"{file} holds more than the disk of {folder.parent} has room for")
                (folder / "images" / name).write_bytes(picture)
                split = split or of_file[file]
                captions = [text for text in captions if text.strip()] or ([""] if split == "test" else [])
                table.writerows([name, text, *([split] if with_splits else [])] for text in captions)


def _picture_columns(schema: pa.Schema) -> list[str]:
    return [field.name for field in schema if _holds_pictures(field.type, field.name)]


def _holds_pictures(kind: pa.DataType, name: str) -> bool:
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0
    return name in IMAGE_NAMES and (pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _rows(file: Path, columns: Columns, captioned: bool) -> Iterator[tuple[bytes, str, list[str], str]]:
    """Bytes, file name, captions and split of each row that has a picture; "" for what is not given."""
    opened = pyarrow.parquet.ParquetFile(file)
    names, pictures = opened.schema_arrow.names, _picture_columns(opened.schema_arrow)
    picture = columns.image if columns.image in pictures else pictures[0]
    wanted = [columns.caption] if columns.caption != Columns.caption else [*CAPTION_NAMES, "captions"]
    caption = next((name for name in wanted if name in names), None)
    if caption is None and captioned:
        raise ValueError(f"{file} has pictures and no column {' or '.join(wanted)}: its columns are {a_few(names)}")
    split = [columns.split] if columns.split in names else []
    for batch in opened.iter_batches(BATCH, columns=[picture, *([caption] if caption else []), *split]):
        for row in batch.to_pylist():
            content = row[picture] if isinstance(row[picture], dict) else {"bytes": row[picture]}
            said = row[caption] if caption else None
            said = said if isinstance(said, list) else [said]
            if not all(text is None or isinstance(text, str) for text in said):
                raise ValueError(f"{file}: the column {caption!r} holds {shortened(said)}, no text")
            if content and content["bytes"]:
                name = posixpath.basename((content.get("path") or "").replace("\\", "/")).lstrip(".")
                yield content["bytes"], name, [text or "" for text in said], str(row[split[0]] or "") if split else ""


def _free_name(name: str, picture: bytes, written: dict[str, bytes]) -> str:
    """`name`, numbered where another picture has it. Rows of one picture, a caption each, have one."""
    digest, free, number = hashlib.sha256(picture).digest(), name, 1
    while written.get(free, digest) != digest:
        stem, dot, suffix = name.rpartition(".")
        free, number = (f"{stem}-{number}{dot}{suffix}" if dot else f"{name}-{number}"), number + 1
    written[free] = digest
    return free


def _split_of(file: Path) -> str:
    """Of data/train-00000-of-00002.parquet or default/train/0000.parquet: train."""
    words = (file.stem.partition("-")[0].lower(), file.parent.name.lower())
    return next((SPLIT_OF[word] for word in words if word and word in SPLIT_OF), "")
