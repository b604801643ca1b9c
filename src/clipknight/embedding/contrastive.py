"""Contrastive training of image against caption rows: keys, loss, and the projection alone on cached features."""

from clipknight.embedding.cache import caption_embeddings
from clipknight.embedding.captioned_dataset import CaptionedDataset
from clipknight.embedding.clip_encoder import ClipEncoder
from clipknight.processes import process_count, process_index

import numpy as np
import torch
from open_clip import ClipLoss
from torch import Tensor, nn
from tqdm import tqdm

BATCH = 1024  # of the projection alone


def contrastive_loss() -> ClipLoss:
    """CLIP's loss over the batches of all processes together: (image rows, caption rows, scale) -> this one's share.

    Each process compares its own rows with everyone's, and the gradient reaches the other processes' rows too: the mean
    over the processes has the gradient that one process has on all rows.
    """
    return ClipLoss(local_loss=True, gather_with_grad=True, rank=process_index(), world_size=process_count())


def compared(outputs, logit_scale: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
    """Image rows, caption rows (None where none were given) and scale of what an open_clip model returns.

    Most return a tuple; CoCa returns a dict, which without captions lacks the scale.
    """
    if isinstance(outputs, dict):
        return outputs["image_features"], outputs.get("text_features"), logit_scale.exp()
    return outputs[:3]


def caption_keys(encoder: ClipEncoder, data: CaptionedDataset) -> np.ndarray:
    """(M, D) caption keys: the targets where the text tower is the target encoder; cached unless it learns."""
    if encoder.captions_are_targets:
        return data.targets.vectors
    if encoder.locked_text:
        return caption_embeddings(encoder, data.dataset).vectors
    captions = data.dataset.captions["caption"].tolist()
    return np.concatenate([encoder.encode_captions(captions[i : i + 256]) for i in range(0, len(captions), 256)])


def train_projection(encoder: ClipEncoder, features: np.ndarray, train: CaptionedDataset, keys: Tensor, s) -> None:
    """Train the image projection on cached unit features (N, D) and caption keys (M, T), the towers as they are."""
    torch.manual_seed(s.seed)
    projection, scale = encoder.visual.head, encoder.model.logit_scale
    features = torch.from_numpy(np.array(features))
    # The tower gives raw pooled features, the cache unit ones; a linear layer cannot tell, up to its output's length.
    batch, per_epoch = min(BATCH, len(features)), max(1, len(features) // BATCH)
    steps = s.projection_epochs * per_epoch
    optimizer = torch.optim.AdamW(
        [*projection.parameters(), scale], lr=s.lr_projection * 3, weight_decay=s.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, s.lr_projection * 3, total_steps=max(2, steps))
    draw, loss = np.random.default_rng(s.seed), ClipLoss()
    device = encoder.device
    for step in tqdm(range(steps), desc="projection", unit="step"):
        if step % per_epoch == 0:
            order, chosen = draw.permutation(len(features)), train.drawn_captions(draw)
        rows = order[(start := step * batch % (len(features) - batch + 1)) : start + batch]
        seen = nn.functional.dropout(features[rows].to(device), s.projection_dropout)
        images = nn.functional.normalize(projection(seen), dim=-1)
        loss(images, keys[chosen[rows]].to(device), scale.exp()).backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
