"""What a row of the table is, and pictures to measure with."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from machine_limits import Limits
from PIL import Image

FAST_BACKEND = "openvino" if find_spec("openvino") else "torch"  # what `--backend auto` takes for much work
PHOTO = 4000, 3000
WIDTH, HEIGHT = 500, 375  # of Flickr8k's pictures


class Stage:
    """One row: what takes time, done in two ways.

    `ours` does the `items`, `plain` does `plain_items` of them; both load what they need at the first call, in
    processes of their own. `least_seconds` is what the machine needs for all items, by the limit `bound_by` names. Data
    are made from a seed when the stage is built, in `folder`.
    """

    name: str
    unit: str  # of the items; "" where there is one, whose seconds are shown
    written: str  # what one would write oneself; "" for nothing that compares
    bound_by: str
    items: int
    plain_items: int = 0  # 0: all items
    is_long: bool = False  # measured fewer times
    warms_up: bool = True  # the first call of each way does not count

    def __init__(self, folder: Path, quick: bool):
        raise NotImplementedError

    def plain(self) -> None:
        raise NotImplementedError

    def ours(self) -> None:
        raise NotImplementedError

    def least_seconds(self, limits: Limits) -> float:
        raise NotImplementedError


@contextmanager
def one_core() -> Iterator[None]:
    """Torch on one core, as in a process that loads images."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def draw_pictures(folder: Path, count: int) -> list[str]:
    """So many JPEGs of Flickr8k's size, cut out of a drawn photograph."""
    with tempfile.TemporaryDirectory() as elsewhere:  # the folder is to hold the pictures alone
        photo = Image.open(draw_photos(Path(elsewhere), 1)[0]).convert("RGB")
    draw = np.random.default_rng(0)
    paths = [folder / f"picture{number:04}.jpg" for number in range(count)]
    for path in paths:
        left, top = draw.integers(0, photo.width - WIDTH), draw.integers(0, photo.height - HEIGHT)
        photo.crop((left, top, left + WIDTH, top + HEIGHT)).save(path, quality=90)
    return [str(path) for path in paths]


def draw_photos(folder: Path, count: int = 3) -> list[str]:
    """So many photographs of 12 megapixels, each about 4 MB."""
    width, height = PHOTO
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = np.inf
    for number in range(count):
        draw = np.random.default_rng(number)
        waves = draw.standard_normal((3, *frequency.shape)) + 1j * draw.standard_normal((3, *frequency.shape))
        levels = np.fft.irfft2(waves / frequency**1.3, (height, width))
        levels = np.clip(128 + 50 * levels / levels.std(), 0, 255).astype(np.uint8)
        Image.fromarray(levels.transpose(1, 2, 0)).save(folder / f"photo{number}.jpg", quality=92)
    return [str(folder / f"photo{number}.jpg") for number in range(count)]
