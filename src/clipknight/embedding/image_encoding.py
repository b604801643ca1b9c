"""Image files through an encoder, a batch at a time, in as many processes as read them."""

from collections.abc import Callable, Iterator, Sequence

from clipknight.data.images import UnreadableImage, read_image
from clipknight.embedding.cached_rows import unreadable_or_nan
from clipknight.embedding.clip_encoder import ClipEncoder
from clipknight.processes import of_all_processes, process_index, stretches_of

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset


def encode_images(encoder: ClipEncoder, paths: Sequence[str], batch_size: int = 64, workers: int = 2) -> np.ndarray:
    """Unit image embeddings (N, D), not cached: for an encoder that is still in training. UnreadableMedia.

    Several processes share the images out; each of them gets all rows.
    """
    start, stop = stretches_of(len(paths), batch_size)[process_index()]
    own = encoded_batches(encoder, encoder.encode_pixels, paths[start:stop], batch_size, workers)
    vectors = np.concatenate(of_all_processes(list(own)))
    if np.isnan(vectors[:, 0]).any():
        raise unreadable_or_nan([paths[i] for i in np.flatnonzero(np.isnan(vectors[:, 0]))])
    return vectors


def encoded_batches(
    encoder: ClipEncoder, encode: Callable, paths: Sequence[str], batch_size: int, workers: int
) -> Iterator[np.ndarray]:
    """Rows `encode` gives for the pixels of `paths`, in that order, a batch at a time; NaN for an unreadable image."""
    workers = workers if len(paths) > batch_size else 0
    images = _Pixels(paths, encoder.preprocess, encoder.decoded_size)
    for pixels, readable in DataLoader(images, batch_size, num_workers=workers):
        vectors = encode(pixels)
        vectors[~readable.numpy()] = np.nan
        yield vectors


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
