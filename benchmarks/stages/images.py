"""Images to embeddings: photographs to pixels, pixels to vectors, and both beside each other."""

from functools import cached_property
from pathlib import Path

from clipknight.data.images import read_image
from clipknight.devices import CORES
from clipknight.embedding.clip import load_clip
from clipknight.embedding.image_encoding import encode_images
from clipknight.embedding.image_graph import run_by
from clipknight.embedding.settings import OFFLINE
from stages.base import FAST_BACKEND, Stage, draw_photos, draw_pictures, one_core
from stages.traffic import operations_and_traffic

import torch
from machine_limits import Limits, median_seconds, timed
from PIL import Image
from torch.utils.data import DataLoader, Dataset

ENCODER, BATCH = f"{OFFLINE}@224", 64


class Photographs(Stage):
    name, unit = "photographs of 12 megapixels to an encoder's 224 pixels, one core", "images"
    written = "`Image.open`, then the encoder's transform"
    bound_by = "libjpeg, at the scale used"

    def __init__(self, folder: Path, quick: bool):
        self.paths = draw_photos(folder, 1 if quick else 3)
        self.items = len(self.paths)

    @cached_property
    def encoder(self):
        return load_clip(ENCODER, "cpu", "fp32")

    def plain(self) -> None:
        with one_core():
            for path in self.paths:
                self.encoder.preprocess(Image.open(path).convert("RGB"))

    def ours(self) -> None:
        with one_core():
            for path in self.paths:
                self.encoder.preprocess(read_image(path, self.encoder.decoded_size))

    def least_seconds(self, limits: Limits) -> float:
        return median_seconds(self._decode)

    def _decode(self) -> None:
        for path in self.paths:
            image = Image.open(path)
            image.draft("RGB", (self.encoder.decoded_size,) * 2)
            image.load()


class ImageEmbeddings(Stage):
    name, unit = f"pixels to embeddings by lite2 (ours: {FAST_BACKEND})", "images"
    written = "batches of 64 through the model in fp32, as torch lays them out"
    bound_by = "multiplying, or memory"

    def __init__(self, folder: Path, quick: bool):
        self.items, self.plain_items = (BATCH, BATCH) if quick else (8 * BATCH, 2 * BATCH)
        self.pixels = torch.randn(self.items, 3, 224, 224, generator=torch.Generator().manual_seed(0))

    @cached_property
    def plain_model(self):
        return load_clip(ENCODER, "cpu", "fp32").visual.trunk.to(memory_format=torch.contiguous_format)

    @cached_property
    def encoder(self):
        return run_by(FAST_BACKEND, load_clip(ENCODER, "cpu"))

    @torch.inference_mode()
    def plain(self) -> None:
        for batch in self.pixels[: self.plain_items].split(BATCH):
            self.plain_model(batch)

    def ours(self) -> None:
        for batch in self.pixels.split(BATCH):
            self.encoder.encode_pixels(batch)

    @torch.inference_mode()
    def least_seconds(self, limits: Limits) -> float:
        operations, traffic = operations_and_traffic(self.encoder.visual.trunk, self.pixels[:1])
        return self.items * limits.seconds(operations, traffic, self.encoder.precision)


class PictureFolder(Stage):
    name, unit = "a folder of 500 × 375 pictures to embeddings, read beside encoding", "images"
    written = "one after the other: a `DataLoader` without workers"
    bound_by = "encoding, and reading on all cores"
    is_long = True

    def __init__(self, folder: Path, quick: bool):
        self.items = (2 if quick else 8) * BATCH
        self.paths = draw_pictures(folder, self.items)

    @cached_property
    def encoder(self):
        return run_by(FAST_BACKEND, load_clip(ENCODER, "cpu"))

    def plain(self) -> None:
        encode_images(self.encoder, self.paths, BATCH, workers=0)

    def ours(self) -> None:
        encode_images(self.encoder, self.paths, BATCH, workers=CORES)

    def least_seconds(self, limits: Limits) -> float:
        batches = DataLoader(Pixels(self.paths, self.encoder), BATCH)
        reading = median_seconds(lambda: list(batches))
        encoding = sum(timed(lambda batch=batch: self.encoder.encode_pixels(batch)) for batch in batches)
        return encoding + reading / CORES


class Pixels(Dataset):
    """What an encoder reads of pictures."""

    def __init__(self, paths: list[str], encoder):
        self.paths, self.encoder = paths, encoder

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> torch.Tensor:
        return self.encoder.preprocess(read_image(self.paths[i], self.encoder.decoded_size))
