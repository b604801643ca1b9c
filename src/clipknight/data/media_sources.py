"""The pictures and clips that users name: files and folders, archives of them, and URLs of either."""

from collections.abc import Sequence
from pathlib import Path

from clipknight.data.archives import stem_of, unpacked
from clipknight.data.folders import BESIDE, VIDEO_SUFFIXES, files_in, suffix_of, walk
from clipknight.data.images import IMAGE_SUFFIXES
from clipknight.data.media import media_at
from clipknight.data.picture_parts import PictureArchive, picture_archives
from clipknight.data.remote import fetched, files_at, is_url

SUFFIXES = IMAGE_SUFFIXES | VIDEO_SUFFIXES


def find_media(paths: Sequence[str | Path]) -> dict[str, str]:
    """Every image and video among `paths`, files or folders with their subfolders, or archives: its path, by its name.

    "scikit-image" stands for the photographs inside that package. One folder's files are named relative to it, others
    as given; an archive's as in a folder of its name. Archives are unpacked, and URLs copied, once.
    FileNotFoundError, ValueError for other files; OSError for URLs that cannot be read.
    """
    found = {}
    for path in map(str, paths):
        found |= _media_of(path.rstrip("/") if is_url(path) else path, among_others=len(paths) > 1)
    return found


def _media_of(path: str, among_others: bool) -> dict[str, str]:
    remote = files_at(path) if is_url(path) else None
    if archives := _archives(path, remote):
        prefix = f"{_without_suffix(path)}/" if among_others else ""
        return {prefix + name: file for archive in archives for name, file in _unpacked(archive).items()}
    if remote is None:
        return media_at(path, among_others)
    copy = fetched(path, remote)
    files = media_at(copy, among_others=False)
    if copy.is_file():
        return {path: str(copy)}
    return {f"{path}/{name}" if among_others else name: file for name, file in files.items()}


def _archives(path: str, remote: dict[str, int] | None) -> list[PictureArchive]:
    """Those that a path names; of a folder in which pictures or clips lie by themselves none."""
    if remote is not None:
        return picture_archives(path, remote)
    place = Path(path).expanduser()
    if not path or not place.exists():
        return []
    loose = place.is_dir() and any(suffix_of(name) in SUFFIXES for name in files_in(place))
    return [] if loose else picture_archives(str(place))


def _unpacked(archive: PictureArchive) -> dict[str, str]:
    """The pictures and clips of an archive, by the names that they have in it."""
    folder = unpacked(fetched(archive.source) if is_url(archive.source) else Path(archive.source), columns=None)
    files = walk(folder, SUFFIXES, BESIDE)
    if not files:
        raise FileNotFoundError(f"no image and no video in {archive.source}")
    return {archive.prefix + file.partition("/")[2]: str(folder / file) for file in files}  # all in one folder there


def _without_suffix(path: str) -> str:
    """A path or URL as it stands in names: an archive's as a folder's."""
    if not is_url(path):
        path = Path(path).expanduser().as_posix()
    folder, slash, name = path.rpartition("/")
    return folder + slash + stem_of(Path(name))
