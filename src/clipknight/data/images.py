"""Reading image files: any that Pillow opens, as the RGB picture a person would see."""

import functools
import importlib.util
import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from clipknight.data.png_pixels import without_metadata
from clipknight.waiting import SHOWN_AFTER, progress_bar

import numpy as np
from PIL import Image

PHOTO_SUFFIXES = frozenset([".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif"])
HEIC_SUFFIXES = frozenset([".heic", ".heif", ".hif"])
HEIC_IS_READ = importlib.util.find_spec("pillow_heif") is not None
RARE_SUFFIXES = frozenset(
    ".jpe .jp2 .j2k .j2c .jpc .jpf .jpx .ppm .pgm .pbm .pnm .apng .dib .mpo .tga .pcx .dds .psd .sgi .qoi .ico".split()
)
IMAGE_SUFFIXES = PHOTO_SUFFIXES | RARE_SUFFIXES | (HEIC_SUFFIXES if HEIC_IS_READ else frozenset())
JPEG_SUFFIXES = (".jpg", ".jpeg", ".jfif", ".jpe", ".mpo")
LARGE_FILE = 1 << 20  # bytes of a JPEG; less is decoded in full, so that what was embedded of small pictures holds
NOT_PICTURES = ("EPS", "WMF", "EMF", "MPEG", "PDF")  # programs to be run, by Ghostscript or Windows, and clips
MAX_PIXELS = 89_478_485  # a decoded RGB image of 256 MiB, where Pillow begins to warn of decompression bombs
MAX_ASPECT = 12  # sides; more, and resizing the short one to an encoder's size makes the long one huge
BLOCK = 4096  # images in flight while checking
ORIENTATION = 0x0112  # EXIF's tag, and how Pillow undoes each value
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
warnings.filterwarnings("ignore", module=r"PIL\.TiffImagePlugin")  # of damaged EXIF: pixels decide


class UnreadableImage(ValueError):
    """A file that cannot be decoded; `path` and `reason`."""

    def __init__(self, path: str | Path, reason: str):
        super().__init__(path, reason)  # both, so that it can be pickled out of a loader's worker
        self.path, self.reason = str(path), reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def read_image(path: str | Path, at_least: int = 0) -> Image.Image:
    """Decode a file to RGB: turned as its EXIF says, transparency over white, 16 bits to 8, the first frame.

    With `at_least`, a picture that `may_be_scaled` comes at a half, a quarter or an eighth of its size: the smallest
    that leaves each side so many pixels. A photograph of 12 megapixels takes a quarter of the time then.
    What stands beside the pixels may be damaged: it costs at most the turning. UnreadableImage if the file is missing,
    empty, truncated, no image, or larger than MAX_PIXELS.
    """
    try:
        if os.path.getsize(path) == 0:
            raise UnreadableImage(path, "the file is empty")
        try:
            return _decoded(path, path, at_least)
        except (UnreadableImage, MemoryError):
            raise
        except Exception:
            if (pixels := without_metadata(path)) is None:
                raise
            return _decoded(path, pixels, at_least)
    except (UnreadableImage, MemoryError):
        raise
    except Image.UnidentifiedImageError:
        heic = "; HEIC needs a package: pip install pillow-heif" if not HEIC_IS_READ else ""
        raise UnreadableImage(path, f"not an image, or of a kind that Pillow cannot read{heic}") from None
    except Exception as error:  # Pillow's decoders meet broken data with errors of many types
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise UnreadableImage(path, reason) from error


def may_be_scaled(path: str | Path, size: int) -> bool:
    """Whether `read_image` may scale a file of `size` bytes down as it decodes it: a large JPEG."""
    return size >= LARGE_FILE and str(path).lower().endswith(JPEG_SUFFIXES)


def middle_of_strip(image: Image.Image) -> Image.Image:
    """The image, or the middle of one that is more than MAX_ASPECT times as long as wide.

    An encoder sees the middle square alone once the short side has its size. Of a picture of 1 x 60,000 pixels, 316
    bytes on disk, the long side would have 13 million by then.
    """
    width, height = image.size
    longest = MAX_ASPECT * min(width, height)
    if max(width, height) <= longest:
        return image
    left, top = max(0, (width - longest) // 2), max(0, (height - longest) // 2)
    return image.crop((left, top, left + min(width, longest), top + min(height, longest)))


def find_unreadable(paths: Sequence[str | Path], workers: int | None = None) -> dict[str, str]:
    """Decode every image in full, in `workers` threads; the paths that fail, with the reason."""
    paths = [str(path) for path in paths]
    reasons = {}
    bar = progress_bar(total=len(paths), desc="checking images", unit="img", delay=SHOWN_AFTER)
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


@functools.cache
def _formats() -> tuple[str, ...]:
    """What Pillow and its plugins read, without what is no picture of pixels."""
    if HEIC_IS_READ:
        import pillow_heif

        pillow_heif.register_heif_opener()
    Image.init()
    return tuple(kind for kind in Image.ID if kind not in NOT_PICTURES)


def _decoded(path: str | Path, source, at_least: int) -> Image.Image:
    with Image.open(source, formats=_formats()) as image:
        if image.width * image.height > MAX_PIXELS:
            size = f"{image.width:,} x {image.height:,}"
            raise UnreadableImage(path, f"{size} pixels are more than {MAX_PIXELS:,}; make it smaller")
        if at_least and may_be_scaled(path, os.path.getsize(path)):
            image.draft(None, (at_least, at_least))
        return as_seen(image)


def as_seen(image: Image.Image) -> Image.Image:
    """A picture as a person would see it, in RGB: turned as its EXIF says, transparency over white, 16 bits to 8."""
    image.load()
    return _turned(_as_rgb(image), image)


def _turned(pixels: Image.Image, image: Image.Image) -> Image.Image:
    """`pixels` as the EXIF of `image` says; as they are where it cannot be read."""
    try:
        turn = TURNS.get(image.getexif().get(ORIENTATION))
    except Exception:  # a broken entry raises errors of many types
        turn = None
    return pixels if turn is None else pixels.transpose(turn)


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
