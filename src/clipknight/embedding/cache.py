"""Encode once, keep on disk: image embeddings, caption keys and targets, resumable and bound to their encoder."""

import functools
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from clipknight.data.datasets import Dataset
from clipknight.devices import pick_precision
from clipknight.embedding.backends import MANY_CAPTIONS, backend_for, precision_of
from clipknight.embedding.cached_embeddings import CachedCaptions, CachedImages
from clipknight.embedding.caption_encoding import ByClip, BySentenceGraph, BySentences, CaptionRows
from clipknight.embedding.embeddings import Embeddings
from clipknight.embedding.graphs import Graph
from clipknight.embedding.image_encoder import ImageEncoder
from clipknight.embedding.image_encoding import unit_features, unscaled_features
from clipknight.embedding.image_graph import by_backend
from clipknight.embedding.sentence_graph import sentence_graph
from clipknight.embedding.settings import MINILM

import torch

if TYPE_CHECKING:
    from clipknight.embedding.clip_encoder import ClipEncoder

CAPTION_CHUNK = 4096  # captions between two writes; sorted by length inside


def image_embeddings(
    encoder: ImageEncoder,
    dataset: Dataset,
    cache: str | Path | None = None,
    batch_size: int = 64,
    workers: int = 2,
    skip_unreadable: bool = False,
) -> Embeddings:
    """Unit image embeddings (N, D) of all images of `dataset`, by image id.

    UnreadableMedia unless they are skipped, and when not one can be read.
    """
    images = CachedImages("images", dataset, cache)
    encoder = by_backend(encoder, len(dataset), images.are_kept)
    return images.embeddings(encoder, unit_features, batch_size, workers, skip_unreadable)


def unscaled_embeddings(
    encoder: ImageEncoder,
    dataset: Dataset,
    cache: str | Path | None = None,
    batch_size: int = 64,
    workers: int = 2,
    skip_unreadable: bool = False,
) -> Embeddings:
    """The same at the length that the tower gives them: what a classifier's layer takes."""
    images = CachedImages("unscaled", dataset, cache)
    encoder = by_backend(encoder, len(dataset), images.are_kept)
    return images.embeddings(encoder, unscaled_features, batch_size, workers, skip_unreadable)


def subregion_embeddings(
    encoder: ImageEncoder,
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
    from clipknight.embedding.subregions import whole_and_regions  # takes open_clip, which takes seconds to import

    encode = functools.partial(whole_and_regions, regions=regions)
    images = CachedImages(f"subregions{regions}", dataset, cache)
    return images.embeddings(encoder, encode, batch_size, workers, skip_unreadable, 1 + regions)


def caption_embeddings(
    encoder: "ClipEncoder", dataset: Dataset, cache: str | Path | None = None, batch_size: int = 256
) -> Embeddings:
    """Unit CLIP caption embeddings (M, D), the keys of the joint space, by caption id. `dataset`: or a Corpus."""
    captions = CachedCaptions("keys", encoder.name, dataset, cache)
    return captions.embeddings(encoder.fingerprint("text"), CaptionRows(ByClip(encoder), batch_size))


def target_embeddings(
    target_encoder,
    dataset: Dataset,
    cache: str | Path | None = None,
    batch_size: int = 128,
    name: str = MINILM,
    precision: str = "fp32",
) -> Embeddings:
    """Unit targets (M, 384 for MiniLM) by caption id, computed in float32: predictions are scored against them.

    A corpus that is only searched may take `precision` "auto", and another backend than torch: three times as fast in
    bf16, cosine .99998 to float32.
    """
    captions, device = CachedCaptions("targets", name, dataset, cache), target_encoder.device
    reduced, weights = pick_precision(precision, device), target_fingerprint(target_encoder)

    def fingerprint(backend: str) -> str:
        used = precision_of(backend, reduced)
        in_bits = "" if used == torch.float32 else f"-{str(used).partition('.')[2]}"
        return weights + in_bits + ("" if backend == "torch" else f"-{backend}")

    def graph(backend: str) -> Graph:
        return sentence_graph(target_encoder, name, fingerprint(backend), backend, precision_of(backend, reduced))

    def are_kept(backend: str) -> bool:
        return captions.are_kept(fingerprint(backend))

    searched = precision == "auto"
    backend = backend_for(device, len(captions.texts), MANY_CAPTIONS, are_kept, graph) if searched else "torch"
    if backend == "torch":
        encode = BySentences(target_encoder, batch_size, reduced)
    else:
        encode = BySentenceGraph(target_encoder, name, fingerprint(backend), backend, precision_of(backend, reduced))
    return captions.embeddings(fingerprint(backend), CaptionRows(encode, CAPTION_CHUNK))


def target_fingerprint(target_encoder) -> str:
    """Digest of the target encoder's weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted(target_encoder.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:16]
