"""Pictures that are read part by part: each archive of a folder or of a URL, or so many files of a folder.

A part is unpacked where it is read and deleted afterwards, so that pictures need no room beyond a part of them.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from clipknight.data.archives import SUFFIXES, archives_in, is_archive, stem_of, unpack
from clipknight.data.caption_table import Columns
from clipknight.data.datasets import Dataset, image_folder, listed_images
from clipknight.data.picture_tables import write_pictures
from clipknight.data.remote import copy, fetched, files_at, is_url
from clipknight.data.sources import present

PACKED = (*SUFFIXES, ".parquet")


@dataclass(frozen=True)
class PictureFiles:
    """Pictures of a folder: `paths` by id."""

    name: str
    paths: dict[str, str]

    @contextmanager
    def opened(self) -> Iterator[Dataset]:
        """Its pictures, to be predicted."""
        yield listed_images(self.paths)


@dataclass(frozen=True)
class PictureArchive:
    """A tar, a zip or a Parquet file of pictures, here or at a URL; their ids begin with `prefix`."""

    name: str
    source: str
    prefix: str

    @contextmanager
    def opened(self) -> Iterator[Dataset]:
        """Its pictures, to be predicted, unpacked meanwhile. OSError and ValueError as of archives and URLs."""
        with TemporaryDirectory(prefix="clipknight-") as temporary:
            archive, folder = Path(self.source), Path(temporary) / "images"
            if is_url(self.source):
                archive = Path(temporary) / self.source.rpartition("/")[2]
                copy(self.source, archive)
            folder.mkdir()
            if archive.suffix == ".parquet":
                write_pictures([archive], Columns(), folder, captioned=False)
                folder /= "images"
            else:
                unpack(archive, folder)
            dataset = image_folder(folder)
            yield replace(dataset, images=dataset.images.assign(id=self.prefix + dataset.images["id"]))


Part = PictureFiles | PictureArchive


def picture_parts(source: str, cut: Callable[[int], list[tuple[int, int]]]) -> list[Part]:
    """The parts of a folder, an archive, a folder of archives alone, or a URL of any of these.

    `cut` gives the stretches of so many files of a folder. FileNotFoundError where there is nothing.
    """
    remote = files_at(source) if is_url(source) else None
    if archives := picture_archives(source, remote):
        return archives
    images = image_folder(source if remote is None else fetched(source, remote)).images
    return [
        PictureFiles(f"{number:05d}", dict(zip(images["id"][start:stop], images["path"][start:stop], strict=True)))
        for number, (start, stop) in enumerate(cut(len(images)))
    ]


def picture_archives(source: str, remote: dict[str, int] | None = None) -> list[PictureArchive]:
    """The archives that a path names, or a URL with the files `remote`; none where pictures lie there by themselves."""
    archives = archives_of(source) if remote is None else [url for url in remote if url.lower().endswith(PACKED)]
    base = os.path.commonprefix(archives).rpartition("/")[0]
    return [
        PictureArchive(
            f"{number:05d}-{_plain(stem_of(Path(archive)))}",
            archive,
            "" if len(archives) == 1 else f"{_below(base, archive)}/",
        )
        for number, archive in enumerate(archives)
    ]


def archives_of(source: str) -> list[str]:
    """The archives that a path names, in order; none where pictures lie there by themselves."""
    path = present(source)
    if path.is_file():
        return [str(path)] if is_archive(path) else []
    return [str(file) for file in archives_in(path)]


def listing_digest(parts: Sequence[Part]) -> str:
    """What changes with the files of the parts: those of an earlier call are gone on with if it is the same."""
    digest = hashlib.sha256()
    for part in parts:
        files = part.paths.values() if isinstance(part, PictureFiles) else [part.source]
        for file in files:
            stat = None if is_url(file) else Path(file).stat()
            digest.update(f"{file}\t{stat and (stat.st_size, stat.st_mtime_ns)}\n".encode())
    return digest.hexdigest()[:16]


def _below(base: str, archive: str) -> str:
    """An archive's path below the folder of all, without its suffix."""
    folder, _, name = archive.rpartition("/")
    return f"{folder.removeprefix(base).strip('/')}/{stem_of(Path(name))}".strip("/")


def _plain(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name)[:60]
