"""Archives of a dataset: zip, tar and webdataset's shards, unpacked once into the cache and read as folders.

Nothing is written outside the cache or beyond what the disk holds: links, devices and hidden files are left out, a name
that leads elsewhere is refused.
"""

import hashlib
import lzma
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from clipknight.caches import used_cache
from clipknight.data.caption_table import Columns
from clipknight.data.folders import VIDEO_SUFFIXES, suffix_of
from clipknight.data.images import IMAGE_SUFFIXES
from clipknight.data.picture_tables import has_pictures, write_pictures
from clipknight.files import atomic_folder, has_room, one_at_a_time
from clipknight.messages import shortened
from clipknight.paths import caches
from clipknight.waiting import waiting

SUFFIXES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")
FORMS = ("*.parquet", "data/*.parquet", "default/*/*.parquet")  # where 🤗 datasets keeps its files
DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, RuntimeError)


def unpacked(path: Path, columns: Columns | None) -> Path:
    """`path` itself, or where it is an archive, or a folder of them alone, the folder of what is in them.

    `columns` are those of Parquet files, None where they need no captions. ValueError for archives that are damaged,
    hostile, or larger than the disk.
    """
    packed = [path] if path.is_file() and is_archive(path) else archives_in(path) if path.is_dir() else []
    if not packed:
        return path
    base = path if path.is_dir() else path.parent
    stats = [(file.relative_to(base).as_posix(), file.stat().st_size, file.stat().st_mtime_ns) for file in packed]
    key = hashlib.sha256(repr((path.resolve(), stats, columns)).encode()).hexdigest()[:12]
    folder = used_cache("datasets") / f"{key}-{stem_of(path)[:100]}"
    with one_at_a_time(folder):
        if not folder.is_dir():
            with waiting(f"unpacking {path.name}"), atomic_folder(folder, sync=False) as temporary:
                tables = [file for file in packed if file.suffix == ".parquet"]
                for file in packed:
                    if file not in tables:
                        unpack(file, temporary / stem_of(file))
                if tables:
                    write_pictures(tables, columns or Columns(), temporary, captioned=columns is not None)
                for file in base.iterdir() if path.is_dir() else ():
                    if file.is_file() and file not in packed and not file.name.startswith("."):
                        shutil.copy(file, temporary)
            print(f"{path}: unpacked to {folder}")
    return folder


def is_archive(path: Path) -> bool:
    """Whether a file is unpacked, by its name; a Parquet file, if it holds pictures."""
    name = path.name.lower()
    return name.endswith(SUFFIXES) or (name.endswith(".parquet") and has_pictures(path))


def unpack(archive: Path, folder: Path) -> None:
    """Write an archive's files below `folder`. ValueError for what cannot be unpacked, or is not to be."""
    with _refusing(archive):
        for name, size, content in _members(archive):
            name = checked_name(archive, name)
            if any(part.startswith(".") or part == "__MACOSX" for part in name.split("/")):
                continue
            if not has_room(folder.parent, size):
                raise ValueError(f"{archive} holds more than the disk of {caches()} has room for")
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with open(target, "wb") as file:
                shutil.copyfileobj(content, file)  # no more than `size`: both libraries stop there


def checked_name(source: Path | str, name: str) -> str:
    """A member's name as a path below the folder that it is unpacked to. ValueError for one that leads elsewhere."""
    name = name.replace("\\", "/").removeprefix("./")
    if name.startswith("/") or ":" in name.split("/")[0] or ".." in name.split("/") or "\0" in name:
        raise ValueError(f"{source}: the name {shortened(name)!r} in it leads out of its folder: it is not read")
    return name


def archives_in(folder: Path) -> list[Path]:
    """The archives of a folder that holds its dataset in them; none where folders or pictures may come from them."""
    if tables := [file for form in FORMS for file in sorted(folder.glob(form)) if has_pictures(file)]:
        return tables
    with os.scandir(folder) as entries:
        visible = [entry for entry in entries if not entry.name.startswith(".") and entry.name != "__MACOSX"]
    archives = sorted(Path(entry.path) for entry in visible if entry.name.lower().endswith(SUFFIXES))
    unpacked = archives and any(suffix_of(e.name) in IMAGE_SUFFIXES | VIDEO_SUFFIXES or e.is_dir() for e in visible)
    return [] if unpacked else archives


def stem_of(path: Path) -> str:
    """The name without what makes it an archive's."""
    suffix = next((suffix for suffix in (*SUFFIXES, ".parquet") if path.name.lower().endswith(suffix)), "")
    return path.name.removesuffix(path.name[len(path.name) - len(suffix) :] or "\0")


def _members(archive: Path) -> Iterator[tuple[str, int, IO[bytes]]]:
    """Name, size and content of each plain file."""
    if archive.name.lower().endswith(".zip"):
        with zipfile.ZipFile(archive) as opened:
            for member in opened.infolist():
                if not member.is_dir() and not stat.S_ISLNK(member.external_attr >> 16):
                    with opened.open(member) as content:
                        yield member.filename, member.file_size, content
        return
    with tarfile.open(archive, "r|*") as opened:  # as a stream, which may be compressed
        for member in opened:
            if member.isfile():
                yield member.name, member.size, opened.extractfile(member)
            opened.members = []  # a shard may have a million


@contextmanager
def _refusing(archive: Path) -> Iterator[None]:
    try:
        yield
    except DAMAGED as error:
        raise ValueError(f"{archive} cannot be unpacked: {shortened(error, 200)}") from None
