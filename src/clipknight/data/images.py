"""Reading image files: any that Pillow opens, as the RGB picture a person would see."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from tqdm import tqdm

IMAGE_SUFFIXES = frozenset([".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif"])
MAX_PIXELS = 89_478_485  # a decoded RGB image of 256 MiB, where Pillow begins to warn of decompression bombs
BLOCK = 4096  # images in flight while checking
QUIET_BELOW = 2000  # images that are checked without a progress bar


class UnreadableImage(ValueError):
    """A file that cannot be decoded; `path` and `reason`."""

    def __init__(self, path: str | Path, reason: str):
        super().__init__(path, reason)  # both, so that it can be pickled out of a loader's worker
        self.path, self.reason = str(path), reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def read_image(path: str | Path) -> Image.Image:
    """Decode a file to RGB: turned as its EXIF says, transparency over white, 16 bits to 8, the first frame.

    UnreadableImage if it is missing, empty, truncated, no image, or larger than MAX_PIXELS.
    """
    try:
        if os.path.getsize(path) == 0:
            raise UnreadableImage(path, "the file is empty")
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                size = f"{image.width:,} x {image.height:,}"
                raise UnreadableImage(path, f"{size} pixels are more than {MAX_PIXELS:,}; make it smaller")
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
            return _as_rgb(image)
    except (UnreadableImage, MemoryError):
        raise
    except Image.UnidentifiedImageError:
        raise UnreadableImage(path, "not an image, or of a kind that Pillow cannot read") from None
    except Exception as error:  # Pillow's decoders meet broken data with errors of many types
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise UnreadableImage(path, reason) from error


def find_unreadable(paths: Sequence[str | Path], workers: int | None = None) -> dict[str, str]:
    """Decode every image in full, in `workers` threads; the paths that fail, with the reason."""
    paths = [str(path) for path in paths]
    reasons = {}
    bar = tqdm(total=len(paths), desc="checking images", unit="img", disable=len(paths) < QUIET_BELOW)
    with bar, ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        for start in range(0, len(paths), BLOCK):
            block = paths[start : start + BLOCK]
            for path, reason in zip(block, pool.map(_reason, block), strict=True):
                bar.update()
                if reason:
                    reasons[path] = reason
    return reasons


def _reason(path: str) -> str | None:
    try:
        read_image(path)
    except UnreadableImage as error:
        return error.reason
    return None


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        return _sixteen_bit_gray(image)
    if image.mode == "F":
        raise ValueError("32-bit float pixels have no known range; save it with 8 or 16 bits")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def _sixteen_bit_gray(image: Image.Image) -> Image.Image:
    levels = np.asarray(image)
    if levels.min() < 0 or levels.max() > 65535:
        raise ValueError("32-bit integer pixels have no known range; save it with 8 or 16 bits")
    return Image.fromarray(((levels.astype(np.uint32) + 128) // 257).astype(np.uint8)).convert("RGB")
