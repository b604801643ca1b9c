"""What a folder holds: pictures and clips by their suffix, or by their first bytes; the rest is counted."""

import functools
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from clipknight.data.images import HEIC_IS_READ, HEIC_SUFFIXES, IMAGE_SUFFIXES, PHOTO_SUFFIXES
from clipknight.messages import a_few
from clipknight.processes import in_main_process

VIDEO_SUFFIXES = frozenset(
    [".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".flv", ".wmv", ".3gp", ".gif"]
)
# Texts, tables and arrays that lie beside pictures: they are no pictures, and nobody misses them there.
BESIDE = frozenset(
    ".txt .token .csv .tsv .json .jsonl .yaml .yml .xml .md .html .parquet .npy .npz .py .zip .tar .gz".split()
)
STARTS = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8", b"II*\0", b"MM\0*", b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51")
NOT_UTF8 = "whose name is not UTF-8"
REMEDIES = {NOT_UTF8: "; rename it"} | (
    {} if HEIC_IS_READ else dict.fromkeys(HEIC_SUFFIXES, "; to read it: pip install pillow-heif")
)
BRANDS = (b"ftypavif", *((b"ftypheic", b"ftypheix", b"ftypmif1") if HEIC_IS_READ else ()))


def walk(root: Path, suffixes: Iterable[str], beside: Iterable[str] = ()) -> list[str]:
    """The files below `root` with these suffixes and, where pictures are asked for, those that begin as one.

    Hidden names are left out, linked folders followed once. What else is there, but for the suffixes `beside`, is
    counted in one printed line. OSError for a folder that cannot be read.
    """
    found, others, unsure = [], [], []
    pictures = PHOTO_SUFFIXES <= set(suffixes)
    for name, is_there in _files_below(str(root)):
        suffix = suffix_of(name)
        if not is_there or not is_named_in_utf8(name):
            others.append(name)
        elif suffix in suffixes and (not pictures or suffix in PHOTO_SUFFIXES | VIDEO_SUFFIXES):
            found.append(name)
        elif pictures and (suffix in suffixes or begins_as_picture(root / name)):
            unsure.append(name)
        elif suffix not in beside:
            others.append(name)
    taken = {os.path.splitext(name)[0] for name in found}
    for name in unsure:  # a.psd beside a.jpg is what a.jpg was made from
        (others if os.path.splitext(name)[0] in taken else found).append(name)
        taken.add(os.path.splitext(name)[0])
    if others:
        print_once(f"{root}: left out {summary(root, others)}")
    return found


def files_in(folder: Path) -> list[str]:
    """The names of the files in a folder; links that lead nowhere, pipes and devices are none."""
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries if not entry.name.startswith(".") and entry.is_file()]


def begins_as_picture(path: Path) -> bool:
    """By the first bytes of a file whose suffix is unknown: photo.jpg.1, or a download without one."""
    if suffix_of(path.name) in BESIDE | VIDEO_SUFFIXES | IMAGE_SUFFIXES | HEIC_SUFFIXES or not path.is_file():
        return False
    try:
        with open(path, "rb") as file:
            start = file.read(12)
    except OSError:
        return False
    return start.startswith(STARTS) or start[4:12] in BRANDS or (start[:4] == b"RIFF" and start[8:12] == b"WEBP")


def summary(root: Path, names: list[str]) -> str:
    """Files by kind: "2 .heic (a.heic, b.heic; to read them: pip install pillow-heif), 1 without a suffix (c)"."""
    kinds: dict[str, list[str]] = {}
    for name in names:
        kinds.setdefault(_kind(root, name), []).append(name)
    listed = [
        f"{len(members):,} {kind} ({a_few(members, 2)}{REMEDIES.get(kind, '')})" for kind, members in kinds.items()
    ]
    return ", ".join(listed[:4]) + (f" and {len(listed) - 4} other kinds" if len(listed) > 4 else "")


def _kind(root: Path, name: str) -> str:
    if not is_named_in_utf8(name):
        return NOT_UTF8
    if not (root / name).exists():
        return "links that lead nowhere"
    return suffix_of(name) or "without a suffix"


def is_named_in_utf8(name: str) -> bool:
    """Whether a name can be written to a file; the bytes of others stand in it as halves of characters."""
    return not any("\ud800" <= character <= "\udfff" for character in name)


def suffix_of(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def print_once(line: str) -> None:
    """A remark, once in a program, however often the data are read."""
    if in_main_process():
        _printed(line)


@functools.cache
def _printed(line: str) -> None:
    print(line)


def _files_below(root: str) -> Iterator[tuple[str, bool]]:
    """Posix paths relative to `root`, folder by folder, and whether it is a file: a link may lead nowhere."""
    left, seen = [root], set()
    while left:
        folder = left.pop()
        if (here := os.path.realpath(folder)) in seen:
            continue
        seen.add(here)
        with os.scandir(folder) as entries:
            entries = sorted((e for e in entries if not e.name.startswith(".")), key=lambda entry: entry.name)
        left += [entry.path for entry in reversed(entries) if entry.is_dir()]
        for entry in entries:
            if (is_there := entry.is_file()) or (entry.is_symlink() and not entry.is_dir()):
                yield os.path.relpath(entry.path, root).replace(os.sep, "/"), is_there
