"""Encode once, keep on disk: image embeddings, caption keys and targets, resumable and bound to their encoder.

A cache folder is named by a digest of the encoder's fingerprint and of what was encoded, so a changed photo, caption or
weight leads to another folder, never to a stale row.
"""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

from clipknight.caches import used_cache
from clipknight.data.datasets import Dataset
from clipknight.data.images import may_be_scaled
from clipknight.devices import pick_precision
from clipknight.embedding.cached_rows import cached
from clipknight.embedding.clip_encoder import ClipEncoder
from clipknight.embedding.embeddings import Embeddings
from clipknight.embedding.image_encoding import encoded_batches
from clipknight.embedding.settings import MINILM
from clipknight.embedding.subregions import subregion_features

import numpy as np
import torch

CAPTION_CHUNK = 4096  # captions between two writes; sorted by length inside


def image_embeddings(
    encoder: ClipEncoder,
    dataset: Dataset,
    cache: str | Path | None = None,
    batch_size: int = 64,
    workers: int = 2,
    skip_unreadable: bool = False,
) -> Embeddings:
    """Unit image embeddings (N, D) of all images of `dataset`, by image id.

    UnreadableMedia unless they are skipped, and when not one can be read.
    """
    return _images("images", encoder, encoder.encode_pixels, dataset, cache, batch_size, workers, skip_unreadable)


def unscaled_embeddings(
    encoder: ClipEncoder,
    dataset: Dataset,
    cache: str | Path | None = None,
    batch_size: int = 64,
    workers: int = 2,
    skip_unreadable: bool = False,
) -> Embeddings:
    """The same at the length that the tower gives them: what a classifier's layer takes."""
    return _images("unscaled", encoder, encoder.encode_unscaled, dataset, cache, batch_size, workers, skip_unreadable)


def subregion_embeddings(
    encoder: ClipEncoder,
    dataset: Dataset,
    regions: int,
    cache: str | Path | None = None,
    batch_size: int = 32,
    workers: int = 2,
    skip_unreadable: bool = False,
) -> Embeddings:
    """Unit image embeddings with the unit vectors of as many sub-regions, most attended first, as their `regions`.

    UnreadableMedia as above; ValueError for more regions than the encoder sees cells.
    """

    def encode(pixels: torch.Tensor) -> np.ndarray:
        found = subregion_features(encoder, pixels, regions)
        return np.concatenate([found.whole[:, None], found.regions], axis=1).reshape(len(pixels), -1)

    of = f"subregions{regions}"
    return _images(of, encoder, encode, dataset, cache, batch_size, workers, skip_unreadable, 1 + regions)


def _images(
    of: str,
    encoder: ClipEncoder,
    encode: Callable,
    dataset: Dataset,
    cache: str | Path,
    batch_size: int,
    workers: int,
    skip_unreadable: bool,
    parts: int = 1,
) -> Embeddings:
    paths = dataset.require_images().images["path"].tolist()
    stats = [Path(path).stat() for path in paths]
    rows = [
        f"{i}\t{s.st_size}\t{s.st_mtime_ns}{' scaled' * may_be_scaled(path, s.st_size)}"
        for i, path, s in zip(dataset.ids, paths, stats, strict=True)
    ]
    fingerprint = encoder.fingerprint("visual")
    folder = _cache_folder(cache, dataset, of, encoder.name, fingerprint, rows)

    def batches(start: int, stop: int) -> Iterator[np.ndarray]:
        return encoded_batches(encoder, encode, paths[start:stop], batch_size, workers)

    meta = {"encoder": encoder.name, "fingerprint": fingerprint, "of": of, "dataset": dataset.name}
    return cached(folder, dataset.ids, batches, batch_size, meta, paths, skip_unreadable, parts)


def caption_embeddings(
    encoder: ClipEncoder, dataset: Dataset, cache: str | Path | None = None, batch_size: int = 256
) -> Embeddings:
    """Unit CLIP caption embeddings (M, D), the keys of the joint space, by caption id. `dataset`: or a Corpus."""
    fingerprint = encoder.fingerprint("text")
    return _captions("keys", encoder.name, fingerprint, encoder.encode_captions, dataset, cache, batch_size)


def target_embeddings(
    target_encoder,
    dataset: Dataset,
    cache: str | Path | None = None,
    batch_size: int = 128,
    name: str = MINILM,
    precision: str = "fp32",
) -> Embeddings:
    """Unit targets (M, 384 for MiniLM) by caption id, computed in float32: predictions are scored against them.

    A corpus that is only searched may take `precision` "auto": three times as fast in bf16, cosine .99998 to float32.
    """
    device = target_encoder.device
    reduced = pick_precision(precision, device)
    fingerprint = target_fingerprint(target_encoder)
    if reduced != torch.float32:
        fingerprint = f"{fingerprint}-{str(reduced).partition('.')[2]}"

    def encode(captions: list[str]) -> np.ndarray:
        with torch.autocast(device.type, reduced, enabled=reduced != torch.float32):
            vectors = target_encoder.encode(
                captions, batch_size=batch_size, show_progress_bar=False, convert_to_tensor=True
            )
        return torch.nn.functional.normalize(vectors.float(), dim=-1).cpu().numpy()  # of 16 bits: lengths only near 1

    return _captions("targets", name, fingerprint, encode, dataset, cache, CAPTION_CHUNK)


def target_fingerprint(target_encoder) -> str:
    """Digest of the target encoder's weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted(target_encoder.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


def _captions(
    of: str, name: str, fingerprint: str, encode: Callable, dataset: Dataset, cache, chunk: int
) -> Embeddings:
    captions, ids = dataset.captions["caption"].tolist(), dataset.captions["caption_id"].to_numpy()
    rows = [f"{i}\t{caption}" for i, caption in zip(ids, captions, strict=True)]
    folder = _cache_folder(cache, dataset, of, name, fingerprint, rows)

    def batches(start: int, stop: int) -> Iterator[np.ndarray]:
        for i in range(start, stop, chunk):
            yield encode(captions[i : min(i + chunk, stop)])

    meta = {"encoder": name, "fingerprint": fingerprint, "of": of, "dataset": dataset.name}
    return cached(folder, ids, batches, chunk, meta)


def cache_folder(dataset: Dataset, cache: str | Path | None = None) -> Path:
    """Where what belongs to a dataset is kept: below `cache`, by default outputs/embeddings."""
    return Path(cache or used_cache("embeddings")) / dataset.name


def _cache_folder(cache, dataset: Dataset, of: str, name: str, fingerprint: str, rows: list[str]) -> Path:
    digest = hashlib.sha256("\n".join([fingerprint, *rows]).encode()).hexdigest()[:12]
    return cache_folder(dataset, cache) / f"{of}-{Path(name).name.replace(':', '-')}-{digest}"
