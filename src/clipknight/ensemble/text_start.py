"""A head's start from text alone: the regression from a CLIP's captions to their targets, applied to its images.

In a joint space an image lies where its captions do but for the modality gap (Liang et al. 2022), so a map learnt from
a large corpus of captions is a first guess at what images mean, before any image has been seen with its captions.
"""

from clipknight.embedding.clip_encoder import ClipEncoder
from clipknight.embedding.corpora import Corpus, corpus_embeddings

import numpy as np
import torch
from sklearn.linear_model import Ridge
from torch import nn

PENALTY = 1e-3  # for each caption, of inputs whose entries are of unit size


def text_to_target(captions: np.ndarray, targets: np.ndarray, image_mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weight (T, D) and bias (T,) that map image embeddings at length √D to the target space.

    Fitted to unit `captions` (M, D) and their `targets` (M, T); the captions' mean is moved to the unit images'
    `image_mean` (D,), which closes the gap between the two.
    """
    scale = captions.shape[1] ** 0.5
    inputs = (captions - captions.mean(axis=0, dtype=np.float64) + image_mean).astype(np.float32) * scale
    ridge = Ridge(alpha=PENALTY * len(inputs), solver="cholesky").fit(inputs, targets)
    return ridge.coef_, ridge.intercept_


def check_start(encoder: ClipEncoder, head: type[nn.Module]) -> None:
    """ValueError for an encoder without a joint space, and for a kind of head that cannot be a linear map."""
    if not encoder.joint:
        raise ValueError(
            f"--init_head needs captions and images in one space, which encoder {encoder.name!r} has not: "
            "adapt it with src/train_clip.py first"
        )
    if not hasattr(head, "start_as"):
        raise ValueError("--init_head starts heads that can be a linear map: --head che or linear")


def start_from_text(
    head: nn.Module, encoder: ClipEncoder, images: np.ndarray, corpus: Corpus, target_encoder: str
) -> None:
    """Start `head` as that map, learnt from `corpus`; `images` (N, D) are unit image embeddings."""
    device = str(encoder.device)
    targets = corpus_embeddings(corpus, "target", target_encoder, device)
    captions = targets if encoder.captions_are_targets else corpus_embeddings(corpus, encoder.name, device=device)
    captions = captions.aligned_to(targets.ids)
    weight, bias = text_to_target(captions.vectors, targets.vectors, images.mean(axis=0, dtype=np.float64))
    with torch.no_grad():
        head.start_as(torch.from_numpy(weight), torch.from_numpy(bias))
