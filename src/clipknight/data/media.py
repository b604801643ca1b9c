"""Where a dataset's pictures and clips lie: found by suffix, none opened. All paths are posix, relative to a root."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from clipknight.data.images import IMAGE_SUFFIXES
from clipknight.data.sample_photos import SOURCE, sample_photos
from clipknight.messages import a_few

import numpy as np
import pandas as pd

VIDEO_SUFFIXES = frozenset(
    [".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".flv", ".wmv", ".3gp", ".gif"]
)


def walk(root: Path, suffixes: Iterable[str]) -> list[str]:
    """The files below `root` with these suffixes. Hidden names are left out, linked folders followed once.

    OSError for a folder that cannot be read.
    """
    found, seen = [], set()
    for top, folders, files in os.walk(root, followlinks=True, onerror=_raise):
        if os.path.realpath(top) in seen:
            folders.clear()
            continue
        seen.add(os.path.realpath(top))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += _in_folder(os.path.relpath(top, root), files, suffixes)
    return found


def find_media(paths: Iterable[str | Path]) -> dict[str, str]:
    """Every image and video among `paths`, files or folders with their subfolders: its path, by its name.

    "scikit-image" stands for the photographs inside that package. One folder's files are named relative to it, others
    as given. FileNotFoundError, ValueError for other files.
    """
    paths = [Path(path).expanduser() for path in paths]
    found = {}
    for path in paths:
        if str(path) == SOURCE and not path.exists():
            found |= sample_photos()
        elif path.is_dir():
            files = walk(path, IMAGE_SUFFIXES | VIDEO_SUFFIXES)
            if not files:
                raise FileNotFoundError(f"no image and no video in {path}")
            prefix = "" if len(paths) == 1 else f"{path.as_posix()}/"
            found |= {prefix + file: str(path / file) for file in files}
        elif not path.is_file():
            raise FileNotFoundError(f"{path} does not exist")
        elif path.suffix.lower() not in IMAGE_SUFFIXES | VIDEO_SUFFIXES:
            known = " ".join(sorted(IMAGE_SUFFIXES | VIDEO_SUFFIXES))
            raise ValueError(f"{path} is neither an image nor a video by its suffix ({known})")
        else:
            found[path.as_posix()] = str(path)
    return found


def listed(root: Path, names: pd.Series, suffixes: Iterable[str]) -> list[str]:
    """As `walk`, but only the files named (with or without suffix), and reading only the folders they are in."""
    found = []
    for parent in parents(names):
        if (root / parent).is_dir():
            found += _in_folder(parent, os.listdir(root / parent), suffixes)
    files, names = pd.Series(found, dtype="str"), pd.Index(names.unique())
    return list(files[(names.get_indexer(files) >= 0) | (names.get_indexer(ids_of(files)) >= 0)])


def image_root(folder: Path, names: pd.Series) -> Path:
    """The folder that `names` are relative to: `folder` or the subfolder that has the files.

    FileNotFoundError when a few of the names, tried in each, are in none.
    """
    below = [sub for sub in folder.iterdir() if sub.is_dir() and not sub.name.startswith(".")]
    below.sort(key=lambda sub: (not re.search("(?i)image|video", sub.name), sub))
    candidates = [folder, *(place for sub in below for place in (sub, sub / sub.name) if place.is_dir())]
    few = names.iloc[np.unique(np.linspace(0, len(names) - 1, 8).astype(int))]
    media = sorted(IMAGE_SUFFIXES | VIDEO_SUFFIXES)
    tried = [name + suffix for name in few for suffix in ([""] if suffix_of(name) in media else media)]
    for place in candidates:
        if any(os.path.isfile(place / name) for name in tried):  # Path.is_file raises for names that are too long
            return place
    raise no_images(few, candidates)


def under_one_folder(base: Path, names: pd.Series) -> tuple[Path, pd.Series]:
    """Names as plain posix paths under `base`; where some lie outside, under the folder that holds them all."""
    names = names.str.replace("\\", "/", regex=False)
    if not names.str.contains(r"^(?:/|[A-Za-z]:/)|(?:^|/)\.{1,2}/").any():
        return base, names
    full = {name: os.path.normpath(base / name) for name in names.unique()}
    if not all(path.startswith(f"{base}{os.sep}") for path in full.values()):
        base = Path(os.path.commonpath({os.path.dirname(path) for path in full.values()}))
    return base, names.map({name: Path(path).relative_to(base).as_posix() for name, path in full.items()})


def ids_of(files: pd.Series) -> pd.Series:
    """The files without their suffix."""
    return files.str.replace(r"\.[^./]+$", "", regex=True)


def parents(files: pd.Series) -> list[str]:
    """The folders the files are in, each once."""
    return sorted(files.str.replace(r"/?[^/]*$", "", regex=True).unique())


def suffix_of(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def name_videos(names: pd.Series) -> bool:
    """Whether any name is a video's. A GIF is a clip among videos and a picture among pictures."""
    return bool(names.str.lower().str.endswith(tuple(VIDEO_SUFFIXES - IMAGE_SUFFIXES)).any())


def no_images(names: Iterable[str], places: Iterable[Path]) -> FileNotFoundError:
    return FileNotFoundError(
        f"none of the files tried ({a_few(names, 3)}) is in {a_few(places)}; say where they are (images)"
    )


def _raise(error: OSError) -> None:
    raise error


def _in_folder(folder: str, files: list[str], suffixes: Iterable[str]) -> list[str]:
    prefix = "" if folder in ("", ".") else folder.replace(os.sep, "/") + "/"
    return [prefix + name for name in files if suffix_of(name) in suffixes and not name.startswith(".")]
