"""Model A's loss, and the first stage of its training: the head alone on cached image embeddings."""

from clipknight.training.learning_rates import new_layer_groups, warmed_up_adamw
from clipknight.training.state import CLIP_NORM

import numpy as np
import torch
from open_clip import ClipLoss
from torch import nn
from tqdm import tqdm

BATCH = 256


class PredictionLoss:
    """1 − cos to the captions' targets, averaged, plus the contrastive term at its weight."""

    def __init__(self, contrastive_weight: float, temperature: float, contrast: ClipLoss):
        self.weight, self.temperature, self.contrast = contrastive_weight, temperature, contrast

    def __call__(self, predictions: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Of (B, D) both; targets are means of unit rows."""
        predictions = nn.functional.normalize(predictions.float(), dim=-1)
        # The dot product with the mean of unit targets is the mean of the cosines with each of them.
        value = 1 - (predictions * targets).sum(-1).mean()
        if self.weight:
            unit_targets = nn.functional.normalize(targets, dim=-1)
            value = value + self.weight * self.contrast(predictions, unit_targets, 1 / self.temperature)
        return value


def train_head(head: nn.Module, features: torch.Tensor, targets: torch.Tensor, s) -> None:
    """Train the head alone on image embeddings (N, D), towards targets (N, T): alike in every process."""
    device = next(head.parameters()).device
    loss = PredictionLoss(s.contrastive_weight, s.temperature, ClipLoss())
    batch = min(BATCH, len(features))
    steps = s.head_epochs * (len(features) // batch)
    optimizer, schedule = warmed_up_adamw(new_layer_groups([head], 3 * s.lr_fc, s.weight_decay), steps, s.warmup)
    head.train()
    with tqdm(total=steps, desc="head", unit="step") as bar:
        for epoch in range(s.head_epochs):
            order = np.random.default_rng((s.seed, epoch)).permutation(len(features))
            for start in range(0, len(order) - batch + 1, batch):
                rows = torch.from_numpy(order[start : start + batch])
                loss(head(features[rows].to(device)), targets[rows].to(device)).backward()
                nn.utils.clip_grad_norm_(optimizer.param_groups[0]["params"], CLIP_NORM)
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                schedule.step()
                bar.update()
