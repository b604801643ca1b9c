"""Datasets elsewhere, named by a URL that fsspec knows (s3://, gs://, hf://, https://): copied here once."""

import hashlib
import re
from pathlib import Path

from clipknight.caches import used_cache
from clipknight.data.archives import checked_name
from clipknight.errors import install
from clipknight.files import atomic_folder, has_room, one_at_a_time
from clipknight.messages import shortened
from clipknight.waiting import waiting

URL = re.compile(r"[a-z][a-z0-9+]*://")


def is_url(source: str | Path) -> bool:
    return bool(URL.match(str(source)))


def fetched(url: str, files: dict[str, int] | None = None) -> Path:
    """The copy of a remote file or folder below outputs/datasets. OSError where it cannot be copied.

    `files` is what `files_at` gave for it, if that was asked before. ValueError for a store whose package is not
    installed, and for names that lead out of the folder.
    """
    name = re.sub(r"[^\w.-]+", "_", url.rstrip("/").rpartition("/")[2].partition("?")[0])[:100].lstrip(".") or "data"
    folder = used_cache("datasets") / f"{hashlib.sha256(url.encode()).hexdigest()[:12]}-{name}"
    with one_at_a_time(folder):
        if not folder.is_dir():
            with waiting(f"copying {url}"), atomic_folder(folder, sync=False) as temporary:
                copy(url, temporary / name, files)
            print(f"{url}: copied to {folder}; delete that folder to copy it anew")
    return folder / name


def files_at(url: str) -> dict[str, int]:
    """The bytes of each file in a remote folder, by its URL, in order; of a file its own.

    OSError where it cannot be listed.
    """
    store, place = _store(url)
    try:
        return {store.unstrip_protocol(file): size for file, size in _sizes(store, place).items()}
    except Exception as error:  # each store has errors of its own
        raise OSError(f"{url} cannot be listed: {shortened(error, 200)}") from error


def _sizes(store, place: str) -> dict[str, int]:
    """The bytes of each file in a folder of a store, or of that file, by their place there."""
    if store.isfile(place):  # asked first: a web server would send all of it to be searched for links
        return {place: store.size(place) or 0}
    return {file: found.get("size") or 0 for file, found in sorted(store.find(place, detail=True).items())}


def _store(url: str):
    """fsspec's file system of a URL, and the place in it."""
    import fsspec

    try:
        return fsspec.url_to_fs(url)
    except ImportError as error:
        raise ValueError(f"{url}: {error}: {install('s3fs')}") from None


def copy(url: str, to: Path, files: dict[str, int] | None = None) -> None:
    """Copy a remote file, or a folder, to `to`. `files`, OSError, ValueError as of `fetched`."""
    from fsspec.core import strip_protocol

    store, place = _store(url)
    try:
        sizes = _sizes(store, place) if files is None else {strip_protocol(file): size for file, size in files.items()}
        if not has_room(to.parent, sum(sizes.values())):
            raise OSError(f"it holds {sum(sizes.values()):,} bytes, more than the disk has room for")
        for file in sizes:
            inner = file.removeprefix(place).lstrip("/")
            target = to / checked_name(url, inner) if inner else to
            target.parent.mkdir(parents=True, exist_ok=True)
            store.get_file(file, str(target))
        if not sizes:
            raise FileNotFoundError("there is no such file or folder")
    except ValueError:
        raise
    except Exception as error:  # each store has errors of its own
        raise OSError(f"{url} cannot be copied: {shortened(error, 200)}") from error
