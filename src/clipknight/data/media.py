"""Where a dataset's pictures and clips lie. All paths are posix, relative to a root."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from clipknight.data.folders import (
    BESIDE,
    VIDEO_SUFFIXES,
    begins_as_picture,
    files_in,
    is_named_in_utf8,
    suffix_of,
    walk,
)
from clipknight.data.images import HEIC_SUFFIXES, IMAGE_SUFFIXES
from clipknight.data.names import ids_of, positions, variants
from clipknight.data.sample_photos import SOURCE, sample_photos
from clipknight.messages import a_few, advice, shortened

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Media:
    """Where a dataset's pictures or clips are looked for: in `folder`, where the user names one.

    Not at all where they are not `wanted`: what is learned from text alone needs none.
    """

    folder: Path | None = None
    wanted: bool = True

    def root(self, base: Path, names: pd.Series) -> Path:
        """The folder that `names` are relative to."""
        return image_root(self.folder or base, names) if self.wanted else base

    def below(self, root: Path, suffixes: Iterable[str], names: pd.Series) -> list[str]:
        """Every file below `root`."""
        return walk(root, suffixes, BESIDE) if self.wanted else list(names.unique())

    def named(self, root: Path, names: pd.Series, suffixes: Iterable[str]) -> list[str]:
        """The files named."""
        return listed(root, names, suffixes) if self.wanted else list(names.unique())


def media_at(path: str | Path, among_others: bool = True) -> dict[str, str]:
    """Every image and video at `path`, a file or a folder with its subfolders: its path, by its name.

    "scikit-image" stands for the photographs inside that package. A folder's files are named relative to it, or as
    given where it stands among others. FileNotFoundError, ValueError for other files.
    """
    if not str(path):
        raise ValueError("one of the images or folders to read has an empty name")
    path = Path(path).expanduser()
    if str(path) == SOURCE and not path.exists():
        return sample_photos()
    if path.is_dir():
        files = walk(path, IMAGE_SUFFIXES | VIDEO_SUFFIXES)
        if not files:
            raise FileNotFoundError(f"no image and no video in {path}")
        prefix = f"{path.as_posix()}/" if among_others else ""
        return {prefix + file: str(path / file) for file in files}
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    if not is_named_in_utf8(str(path)):
        raise ValueError(f"{shortened(path)}: the name is not UTF-8; rename the file")
    if path.suffix.lower() not in IMAGE_SUFFIXES | VIDEO_SUFFIXES and not begins_as_picture(path):
        heic = path.suffix.lower() in HEIC_SUFFIXES
        remedy = "to read HEIC: pip install pillow-heif" if heic else "nor does it begin as one"
        raise ValueError(f"{path} is neither an image nor a video by its suffix; {remedy}")
    return {path.as_posix(): str(path)}


def listed(root: Path, names: pd.Series, suffixes: Iterable[str]) -> list[str]:
    """As `walk`, but only the files named (with or without suffix), and reading only the folders they are in."""
    found = []
    for parent in parents(names):
        if (root / parent).is_dir():
            found += _in_folder(parent, files_in(root / parent))
    files, names = pd.Series(found, dtype="str"), pd.Series(names.unique(), dtype="str")
    known = np.array([suffix_of(file) in suffixes for file in files], dtype=bool)
    files = files[known | files.isin(names).to_numpy()]
    plain = pd.Index(names)
    named = (plain.get_indexer(files) >= 0) | (plain.get_indexer(ids_of(files)) >= 0)
    near = positions(names, files)
    named[near[near >= 0]] = True
    return [file for file in files[named] if suffix_of(file) in suffixes or begins_as_picture(root / file)]


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
    tried += [other for name in few for other in (name, *variants(name)) if suffix_of(name)]
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


def parents(files: pd.Series) -> list[str]:
    """The folders the files are in, each once."""
    return sorted(files.str.replace(r"/?[^/]*$", "", regex=True).unique())


def name_videos(names: pd.Series) -> bool:
    """Whether any name is a video's. A GIF is a clip among videos and a picture among pictures."""
    return bool(names.str.lower().str.endswith(tuple(VIDEO_SUFFIXES - IMAGE_SUFFIXES)).any())


def no_images(names: Iterable[str], places: Iterable[Path]) -> FileNotFoundError:
    return FileNotFoundError(
        f"none of the files tried ({a_few(names, 3)}) is in {a_few(places)}"
        + (advice("; say where they are: --images FOLDER") or "; put them there")
    )


def _in_folder(folder: str, files: list[str]) -> list[str]:
    prefix = "" if folder in ("", ".") else folder.replace(os.sep, "/") + "/"
    return [prefix + name for name in files]
