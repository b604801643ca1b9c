"""From a model of image embeddings to predictions for images, with test-time augmentation if wanted."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from clipknight.data.datasets import Dataset
from clipknight.embedding.cache import image_embeddings
from clipknight.embedding.embeddings import Embeddings, unit
from clipknight.embedding.image_encoder import ImageEncoder

import numpy as np


def image_predictions(
    encoder: ImageEncoder,
    tell: Callable[[np.ndarray], np.ndarray],
    dataset: Dataset,
    flip_tta: bool = False,
    tta_sizes: Sequence[int] = (),
    at_length: bool = True,
    **options,
) -> Embeddings:
    """Unit rows (N, target_dim) of `tell(image embeddings)`, by image id; `options` are those of `image_embeddings`.

    They are the mean of the unit rows told of each view of an image: at the encoder's own size and at each
    of `tta_sizes` (Touvron et al. 2019: a tower trained on crops sees best at a larger size), and of the mirror images
    with `flip_tta`. Not `at_length` 1, rows are averaged, and stay, as long as they are told.
    """
    ids, rows, count = None, 0.0, 0
    for view in views(encoder, flip_tta, tta_sizes):
        images = image_embeddings(view, dataset, **options)
        ids = images.ids if ids is None else ids
        told, count = tell(images.aligned_to(ids).vectors), count + 1
        rows = rows + (unit(told) if at_length else told)
    return Embeddings(ids, (unit(rows) if at_length else rows / count).astype(np.float32))


def check_sizes(sizes: Sequence[int]) -> None:
    """ValueError for sizes at which no tower sees anything."""
    if min(sizes, default=32) < 32:
        raise ValueError(f"--tta_sizes {min(sizes)} is no image size: pixels a side, 32 or more")


def views(encoder: ImageEncoder, flip_tta: bool, tta_sizes: Sequence[int]) -> Iterator[ImageEncoder]:
    """The encoder as it is, mirrored if wanted, and the same at each of the other sizes."""
    for size in (None, *tta_sizes):
        sized = encoder.at_size(size) if size else encoder
        yield sized
        if flip_tta:
            yield replace(sized, mirrored=True)
