"""What was dropped on the page: pictures and clips by name, zips unpacked within limits; what is refused, and why."""

import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp

from clipknight.data.archives import unpack
from clipknight.data.folders import VIDEO_SUFFIXES
from clipknight.data.images import IMAGE_SUFFIXES
from clipknight.data.media import media_at
from clipknight.messages import shortened
from clipknight.page.faults import fault_of
from clipknight.page.limits import MEBIBYTE, Limits

ENTRY = b"PK\x01\x02"  # begins each entry of a zip's list
CHUNK = 1 << 20


@dataclass
class Received:
    """`files` are paths of pictures and clips by name; `refused`, a line for each that is none."""

    files: dict[str, str] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)


def received(paths: Iterable[str | Path], folder: Path, limits: Limits = Limits()) -> Received:
    """Everything in the uploaded files `paths`; zips are unpacked below `folder`."""
    found = Received()
    for path in map(Path, paths):
        try:
            media = _zipped(path, folder, limits) if path.suffix.lower() == ".zip" else _single(path)
        except (ValueError, OSError) as error:
            found.refused.append(fault_of(error, path.parent).text)
            continue
        for name, file in media.items():
            if len(found.files) == limits.files:
                found.refused.append(f"Only the first {limits.files} files are taken: give the others afterwards.")
                return found
            found.files[_free(name, found.files)] = file
    return found


def _single(path: Path) -> dict[str, str]:
    (file,) = media_at(path).values()
    return {path.name: file}


def _zipped(path: Path, folder: Path, limits: Limits) -> dict[str, str]:
    """The pictures and clips in a zip, named as they are in it. ValueError for what is too much, or none."""
    if _entries(path) > 2 * limits.files + 100:  # with its folders, and what lies beside pictures
        raise ValueError(f"{path} holds more than {limits.files} files: give fewer at once")
    try:
        with zipfile.ZipFile(path) as opened:
            size = sum(member.file_size for member in opened.infolist())
    except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no zip that can be read: {shortened(error)}") from None
    if size > limits.unpacked:
        raise ValueError(f"{path} holds more than {limits.unpacked // MEBIBYTE} MB: give fewer files at once")
    target = Path(mkdtemp(dir=folder))
    unpack(path, target)
    if not (found := _media_below(target)):
        raise ValueError(f"{path} holds no picture and no clip")
    return found


def _media_below(folder: Path) -> dict[str, str]:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    known = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES]
    return {file.relative_to(folder).as_posix(): str(file) for file in known}


def _entries(path: Path) -> int:
    """At most how many files a zip lists, counted without making an object of each, as zipfile does."""
    count, before = 0, b""
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            count += (before + chunk).count(ENTRY)
            before = chunk[1 - len(ENTRY) :]
    return count


def _free(name: str, taken: dict[str, str]) -> str:
    """`name`, or with a number where two files are called so."""
    free, number = name, 1
    while free in taken:
        number += 1
        free = f"{name} ({number})"
    return free
