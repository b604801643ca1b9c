"""Milliseconds and memory from a photograph of 12 megapixels to an encoder's pixels: decoded in full, and scaled.

    python benchmarks/photo_speed.py [--encoder lite2-minilm@224] [--images FOLDER]

Prints a table for the photographs and for the same ones saved at 224 pixels, measured in one run, interleaved, on one
core. Without --images, the photographs are drawn: noise with as much detail at each scale as photographs have.
"""

import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from clipknight.data.datasets import image_folder
from clipknight.data.images import read_image
from clipknight.embedding.clip import load_clip
from clipknight.embedding.settings import OFFLINE
from clipknight.errors import user_errors
from clipknight.settings import parse

import numpy as np
import torch
from machine_measures import hardware
from PIL import Image

SIZE = (4000, 3000)


@dataclass(frozen=True)
class Settings:
    """Settings of photo_speed.py"""

    encoder: str = f"{OFFLINE}@224"
    """as for the scripts"""
    images: str = ""
    """folder of photographs, JPEG of a mebibyte or more; by default three are drawn"""
    rounds: int = 5
    """times each photograph is read in each way; the median is shown"""


@user_errors
def main(argv=None) -> None:
    s = parse(Settings, argv, __doc__)
    encoder = load_clip(s.encoder, "cpu", "fp32")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        photos = image_folder(s.images).images["path"].tolist() if s.images else draw_photos(Path(folder))
        small = [save_small(path, Path(folder) / f"small{i}.jpg", encoder) for i, path in enumerate(photos)]
        ways = {"in full": (photos, 0), "scaled": (photos, encoder.decoded_size), "224 pixels": (small, 0)}
        seconds, pixels = {name: [] for name in ways}, {}
        for _ in range(s.rounds):
            for i in range(len(photos)):
                for name, (paths, at_least) in ways.items():
                    start = time.process_time()
                    pixels[name, i] = encoder.preprocess(read_image(paths[i], at_least)).flatten()
                    seconds[name].append(time.process_time() - start)
        sizes = {name: read_image(paths[0], at_least).size for name, (paths, at_least) in ways.items()}
    cosine = min(cos(pixels["in full", i], pixels["scaled", i]) for i in range(len(photos)))
    print(f"{len(photos)} photographs for {s.encoder}, {hardware()}\n")
    print("| decoded | to | ms an image | ratio | MB of pixels |\n|---|---|---|---|---|")
    whole = statistics.median(seconds["in full"])
    for name, (width, height) in sizes.items():
        median, megabytes = statistics.median(seconds[name]), 3e-6 * width * height
        print(f"| {name} | {width} x {height} | {1000 * median:.0f} | {whole / median:.1f} | {megabytes:.1f} |")
    print(f"\nleast cosine of the encoder's pixels, in full and scaled: {cosine:.5f}")


def draw_photos(folder: Path, count: int = 3) -> list[str]:
    """So many photographs of 12 megapixels, each about 4 MB."""
    width, height = SIZE
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = np.inf
    for number in range(count):
        draw = np.random.default_rng(number)
        waves = draw.standard_normal((3, *frequency.shape)) + 1j * draw.standard_normal((3, *frequency.shape))
        levels = np.fft.irfft2(waves / frequency**1.3, (height, width))
        levels = np.clip(128 + 50 * levels / levels.std(), 0, 255).astype(np.uint8)
        Image.fromarray(levels.transpose(1, 2, 0)).save(folder / f"photo{number}.jpg", quality=92)
    return [str(folder / f"photo{number}.jpg") for number in range(count)]


def save_small(path: str, file: Path, encoder) -> str:
    """The photograph with its short side at the encoder's size."""
    image = read_image(path)
    scale = encoder.image_size / min(image.size)
    image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC).save(file)
    return str(file)


def cos(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(a @ b / (a.norm() * b.norm()))


if __name__ == "__main__":
    main()
