"""How well captions fit without references: to their image by a CLIP, to their prediction by the target encoder."""

from collections.abc import Mapping
from dataclasses import replace

from clipknight.data.datasets import image_folder
from clipknight.data.result_files import by_known_id
from clipknight.embedding.cache import image_embeddings
from clipknight.embedding.clip import load_clip
from clipknight.embedding.clip_encoder import ClipEncoder
from clipknight.embedding.embeddings import Embeddings, unit
from clipknight.embedding.metrics import avg_cos, pair_cosines

import numpy as np
import pandas as pd

PROMPT = "A photo depicts "  # before each caption, in CLIPScore alone
SCALE = 2.5


def load_joint_clip(name: str, device: str = "auto") -> ClipEncoder:
    """The encoder `name`, in fp32 on any hardware. ValueError unless images and captions share its space."""
    encoder = load_clip(name, device, precision="fp32")
    if not encoder.joint:
        raise ValueError(
            f"encoder {name!r} has no space that images and captions share: adapt it with train_clip.py and pass "
            "--encoder outputs/<run>, or name a pretrained CLIP, as ViT-B-32:openai"
        )
    return encoder


def scores_by_clip(
    candidates: pd.Series, images: str, encoder: str, workers: int = 2, device: str = "auto"
) -> dict[str, float]:
    """`clip_scores` of captions by file, for a folder of images, of which those with a caption are encoded."""
    clip, dataset = load_joint_clip(encoder, device), image_folder(images)
    captions = by_known_id(candidates, dataset.ids, images)
    wanted = dataset.images[dataset.images["id"].isin(list(captions))].reset_index(drop=True)
    embeddings = image_embeddings(clip, replace(dataset, images=wanted), workers=workers)
    return clip_scores(clip, embeddings, captions)


def clip_scores(encoder: ClipEncoder, images: Embeddings, captions: Mapping[str, str]) -> dict[str, float]:
    """`clip_cosine`, mean cosine of image and caption embedding, and `CLIPScore` (Hessel et al. 2021, eq. 1).

    `images` are the encoder's, by image id, as `captions`. CLIPScore is the mean of 2.5 max(cos, 0) with the authors'
    prompt before the caption; their figures are ViT-B-32's.
    """
    ids = np.array(list(captions), dtype=object)
    cosines, prompted = (
        pair_cosines(images, Embeddings(ids, caption_rows(encoder, [prefix + text for text in captions.values()])), ids)
        for prefix in ("", PROMPT)
    )
    return {"clip_cosine": float(cosines.mean()), "CLIPScore": float(SCALE * prompted.clip(min=0).mean())}


def caption_rows(encoder: ClipEncoder, captions: list[str], batch_size: int = 256) -> np.ndarray:
    """Unit caption embeddings (N, D), not cached."""
    parts = [encoder.encode_captions(captions[i : i + batch_size]) for i in range(0, len(captions), batch_size)]
    return np.concatenate(parts)


def target_cosine(target_encoder, predictions: Embeddings, captions: Mapping[str, str]) -> float:
    """Mean cosine of each caption's target embedding with the prediction of its image, both by image id."""
    ids = np.array(list(captions), dtype=object)
    targets = target_encoder.encode(
        list(captions.values()), batch_size=128, normalize_embeddings=True, show_progress_bar=False
    )
    return avg_cos(predictions, Embeddings(ids, unit(np.asarray(targets))), ids)
