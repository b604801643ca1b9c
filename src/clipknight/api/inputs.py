"""What is given as images: paths, folders, PIL pictures, arrays, bytes, or whatever yields those. All become files.

Everything below reads files, so a picture in memory is written to a temporary folder, as lossless PNG, and is then what
the same picture on disk would be. Only a batch of them is there at a time, however many a generator yields.
"""

import os
import tempfile
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from clipknight.data.datasets import image_folder
from clipknight.data.images import JPEG_SUFFIXES, UnreadableImage, as_seen
from clipknight.data.media import media_at
from clipknight.messages import shortened
from clipknight.paths import caches_in, existing

import numpy as np
from PIL import Image

Picture = Image.Image | np.ndarray | bytes
Input = str | os.PathLike | Picture
Images = Input | Iterable[Input]
JPEG_START = b"\xff\xd8\xff"


def named_images(images: Images) -> Iterator[tuple[str, str | Picture]]:
    """Each image or video once, with its name: its path, or its place among those given ("0", "1", …).

    A folder's files are named relative to it where it is given alone, as caption.py names them. FileNotFoundError;
    TypeError for what is no image.
    """
    given = [images] if _is_one(images) else images
    if not isinstance(given, Iterable):
        raise TypeError(f"{shortened(images)} ({type(images).__name__}) is no image: {_KINDS}")
    among_others, seen = not isinstance(given, Sized) or len(given) > 1, set()
    for place, image in enumerate(given):
        for name, source in _sources(place, image, among_others):
            if name not in seen:
                seen.add(name)
                yield name, source


def images_to_predict(images: Images) -> Iterator[tuple[str, str | Picture]]:
    """The same; the images of a folder that is given alone are named as predict.py names them, without suffix."""
    if isinstance(images, str | os.PathLike) and (folder := existing(_path(images).expanduser())).is_dir():
        rows = image_folder(folder).images
        return zip(rows["id"], rows["path"], strict=True)
    return named_images(images)


@contextmanager
def files_of(images: Iterable[tuple[str, str | Picture]], skip_unreadable: bool = False) -> Iterator[dict[str, str]]:
    """The files of named images by name, while the block runs; what it encodes is kept no longer than it runs.

    UnreadableImage for a picture in memory that cannot be written, unless it is skipped.
    """
    with tempfile.TemporaryDirectory(prefix="clipknight-") as folder, caches_in(Path(folder) / "cache"):
        files = {}
        for number, (name, source) in enumerate(images):
            try:
                files[name] = source if isinstance(source, str) else _written(source, Path(folder), name, number)
            except UnreadableImage:
                if not skip_unreadable:
                    raise
        yield files


def batches(images: Iterator[tuple[str, str | Picture]], size: int) -> Iterator[Iterator[tuple[str, str | Picture]]]:
    """Stretches of at most `size`; each is to be gone through before the next is asked for."""
    for first in images:
        yield _with_first(first, islice(images, size - 1))


_KINDS = "give paths, folders, PIL pictures, arrays of uint8, bytes of image files, or a list or generator of them"


def _with_first(first, rest: Iterator) -> Iterator:
    yield first
    yield from rest


def _is_one(images) -> bool:
    if isinstance(images, np.ndarray):
        return images.ndim < 4 and images.dtype != object
    return isinstance(images, str | os.PathLike | bytes | bytearray | Image.Image)


def _sources(place: int, image: Input, among_others: bool) -> Iterable[tuple[str, str | Picture]]:
    if isinstance(image, str | os.PathLike):
        return media_at(_path(image), among_others).items()
    if isinstance(image, bytes | bytearray | Image.Image | np.ndarray):
        return [(str(place), image)]
    raise TypeError(f"number {place} of the images, {shortened(image)} ({type(image).__name__}), is none: {_KINDS}")


def _path(path: str | os.PathLike) -> Path:
    """A path, or that of a file:// URL."""
    path = os.fspath(path)
    return Path(url2pathname(urlsplit(path).path) if path.startswith("file://") else path)


def _written(picture: Picture, folder: Path, name: str, number: int) -> str:
    """The file of a picture in memory, called by its place among all."""
    file = folder / name
    if isinstance(picture, bytes | bytearray):
        if picture.startswith(JPEG_START):  # by its suffix a large one is known to be decoded at a smaller size
            file = file.with_suffix(JPEG_SUFFIXES[0])
        file.write_bytes(picture)
        return str(file)
    try:
        seen = as_seen(_as_picture(picture) if isinstance(picture, np.ndarray) else picture)
    except (OSError, ValueError, SyntaxError) as error:  # PIL opens files lazily: a broken one is found here
        raise UnreadableImage(f"picture {name}", str(error)) from error
    file = file.with_suffix(".png")
    Image.fromarray(np.asarray(seen)).save(file, compress_level=1)  # pixels alone: no EXIF that would turn it again
    return str(file)


def _as_picture(array: np.ndarray) -> Image.Image:
    if array.dtype != np.uint8 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise ValueError(
            f"an array of {array.dtype} and shape {array.shape} is no picture: give uint8, (height, width) or "
            "(height, width, 3 or 4)"
        )
    return Image.fromarray(np.ascontiguousarray(array))
