"""Where a dataset lies: its folder or file here, once it is downloaded and unpacked."""

import difflib
import os
from pathlib import Path

from clipknight.data.archives import unpacked
from clipknight.data.remote import fetched, is_url
from clipknight.data.settings import Columns
from clipknight.paths import existing


def source_of(source: str | Path, columns: Columns = Columns()) -> tuple[str, Path]:
    """The name, and the folder or file, of the dataset that a path or a URL names.

    FileNotFoundError where there is none; ValueError for archives that cannot be read.
    """
    path = fetched(str(source)) if is_url(source) else present(source)
    name = f"{path.parent.name}-{path.stem}" if path.is_file() and not is_url(source) else path.name
    return name, _inner(unpacked(_inner(path), columns))


def present(path: str | Path) -> Path:
    """The absolute path, from here or from the project's root. FileNotFoundError with the nearest names beside it."""
    path = Path(os.path.abspath(existing(Path(path).expanduser())))
    if path.exists():
        return path
    if not path.parent.exists():
        raise FileNotFoundError(f"{path} does not exist, and neither does {path.parent}")
    near = difflib.get_close_matches(path.name, os.listdir(path.parent), n=3)
    raise FileNotFoundError(f"{path} does not exist" + (f"; did you mean {' or '.join(near)}?" if near else ""))


def _inner(path: Path) -> Path:
    """The only folder in a folder, and so on: archives often unpack into a folder of their own."""
    while path.is_dir() and len(inside := _visible(path)) == 1 and inside[0].is_dir():
        if inside[0].name == "annotations":  # COCO's, without its images
            break
        path = inside[0]
    return path


def _visible(folder: Path) -> list[Path]:
    return [folder / name for name in os.listdir(folder) if not name.startswith(".") and name != "__MACOSX"]
