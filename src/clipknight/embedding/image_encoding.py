"""Image files through an encoder, a batch at a time, in as many processes as read them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from socket import gethostname

from clipknight.data.images import UnreadableImage, read_image
from clipknight.devices import pick_device
from clipknight.embedding.cached_rows import unreadable_or_nan
from clipknight.embedding.image_encoder import ImageEncoder
from clipknight.embedding.image_graph import run_by
from clipknight.engines.workers import Place
from clipknight.processes import of_all_processes, process_index, stretches_of

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset


@dataclass(frozen=True, eq=False)
class ImageRows:
    """What computes rows of images: `encode` gives those of a batch of pixels (B, 3, H, W) by `encoder`."""

    encoder: ImageEncoder
    encode: Callable[[ImageEncoder, torch.Tensor], np.ndarray]
    batch_size: int
    workers: int

    def __call__(self, paths: Sequence[str]) -> Iterator[np.ndarray]:
        """Rows of the files `paths`, in that order, a batch at a time; NaN for an unreadable image."""
        encoder = self.encoder
        workers = self.workers if len(paths) > self.batch_size else 0
        images = _Pixels(paths, encoder.preprocess, encoder.decoded_size)
        for pixels, readable in DataLoader(images, self.batch_size, num_workers=workers):
            vectors = self.encode(encoder, pixels)
            vectors[~readable.numpy()] = np.nan
            yield vectors

    def ready(self, place: Place) -> Callable[[Sequence[str]], np.ndarray]:
        """For a worker: all rows (N, D) of a part's files. FileNotFoundError where they are not on its machine."""
        encoder = replace(self.encoder, device=pick_device(place.device))
        rows = replace(self, encoder=run_by(encoder.backend, encoder), workers=place.readers)

        def of_part(paths: Sequence[str]) -> np.ndarray:
            folder = Path(paths[0]).parent
            if not folder.is_dir():
                raise FileNotFoundError(f"{folder} is not on {gethostname()}: workers read pictures from a shared disk")
            return np.concatenate(list(rows(paths)))

        return of_part


def unit_features(encoder: ImageEncoder, pixels: torch.Tensor) -> np.ndarray:
    """(B, D) image embeddings of length 1."""
    return encoder.encode_pixels(pixels)


def unscaled_features(encoder: ImageEncoder, pixels: torch.Tensor) -> np.ndarray:
    """(B, D) image embeddings at the length that the tower gives them."""
    return encoder.encode_unscaled(pixels)


def encode_images(encoder: ImageEncoder, paths: Sequence[str], batch_size: int = 64, workers: int = 2) -> np.ndarray:
    """Unit image embeddings (N, D), not cached: for an encoder that is still in training. UnreadableMedia.

    Several processes share the images out; each of them gets all rows.
    """
    start, stop = stretches_of(len(paths), batch_size)[process_index()]
    own = ImageRows(encoder, unit_features, batch_size, workers)(paths[start:stop])
    vectors = np.concatenate(of_all_processes(list(own)))
    if np.isnan(vectors[:, 0]).any():
        raise unreadable_or_nan([paths[i] for i in np.flatnonzero(np.isnan(vectors[:, 0]))])
    return vectors


class _Pixels(Dataset):
    def __init__(self, paths: Sequence[str], preprocess: Callable, decoded_size: int):
        self.paths, self.preprocess, self.decoded_size = paths, preprocess, decoded_size

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, bool]:
        try:
            return self.preprocess(read_image(self.paths[i], self.decoded_size)), True
        except UnreadableImage:
            from PIL import Image

            return torch.zeros_like(self.preprocess(Image.new("RGB", (64, 64)))), False
