"""Scores: average cosine over (image, caption) pairs, and retrieval recall."""

from clipknight.embedding.embeddings import Embeddings, unit

import numpy as np
import pandas as pd

CHUNK_ROWS = 8192


def pair_cosines(predictions: Embeddings, targets: Embeddings, image_ids: np.ndarray) -> np.ndarray:
    """Cosine (M,) of each target with the prediction of its image; `image_ids` (M,) go with the rows of `targets`.

    KeyError when an image has no prediction, ValueError when the dimensions differ.
    """
    if predictions.dim != targets.dim:
        raise ValueError(f"predictions have {predictions.dim} numbers a row, targets {targets.dim}")
    rows = pd.Index(predictions.ids).get_indexer(pd.Index(image_ids))
    if (rows < 0).any():
        missing = pd.unique(np.asarray(image_ids)[rows < 0])
        raise KeyError(f"no prediction for {len(missing)} images: {', '.join(missing[:5])}")
    cosines = np.empty(len(rows), dtype=np.float64)
    for start in range(0, len(rows), CHUNK_ROWS):
        chunk = slice(start, start + CHUNK_ROWS)
        a = unit(np.asarray(predictions.vectors[rows[chunk]], dtype=np.float64))
        b = unit(np.asarray(targets.vectors[chunk], dtype=np.float64))
        cosines[chunk] = np.einsum("md,md->m", a, b)
    return cosines


def avg_cos(predictions: Embeddings, targets: Embeddings, image_ids: np.ndarray) -> float:
    """Mean cosine over all (image, caption) pairs (Che et al. 2023, eq. 8): an image with five captions is five."""
    return float(pair_cosines(predictions, targets, image_ids).mean())


def retrieval_recall(
    images: np.ndarray, captions: np.ndarray, image_of: np.ndarray, at: tuple[int, ...] = (1, 5, 10)
) -> dict[str, float]:
    """Recall@k both ways for unit rows `images` (N, D), `captions` (M, D); `image_of` (M,) indexes into `images`.

    An image is found when any of its captions is among the k nearest; a caption, when its image is. Ties count against:
    an encoder that gives everything one embedding finds nothing.
    """
    image_of = np.asarray(image_of)
    best_caption_rank = np.full(len(images), len(captions))
    caption_rank = np.empty(len(captions), dtype=np.int64)
    caption_order = np.argsort(image_of, kind="stable")
    starts = np.searchsorted(image_of[caption_order], np.arange(len(images)))
    for start in range(0, len(images), 1024):  # one block of the similarity matrix at a time
        similarity = images[start : start + 1024] @ captions.T
        for row, (begin, end) in enumerate(_spans(starts, start, len(similarity), len(captions))):
            own = caption_order[begin:end]
            if len(own):
                best_caption_rank[start + row] = _at_least(similarity[row], own)
    for start in range(0, len(captions), 1024):
        similarity = captions[start : start + 1024] @ images.T
        own = similarity[np.arange(len(similarity)), image_of[start : start + 1024]]
        caption_rank[start : start + 1024] = (similarity >= own[:, None]).sum(axis=1) - 1
    with_captions = np.isin(np.arange(len(images)), image_of)
    recalls = {f"image_to_text_r{k}": float((best_caption_rank[with_captions] < k).mean()) for k in at}
    return recalls | {f"text_to_image_r{k}": float((caption_rank < k).mean()) for k in at}


def _at_least(similarity: np.ndarray, own: np.ndarray) -> int:
    """How many others are as near as the nearest of `own`."""
    as_near = similarity >= similarity[own].max()
    return int(as_near.sum() - as_near[own].sum())


def _spans(starts: np.ndarray, first: int, count: int, total: int) -> list[tuple[int, int]]:
    ends = np.append(starts[1:], total)
    return list(zip(starts[first : first + count], ends[first : first + count], strict=True))
