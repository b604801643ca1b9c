"""Heads: from an image embedding to the target space. To try another, write its class and name it in HEADS."""

import inspect
import pkgutil

from clipknight.embedding.scaling import root_scaled
from clipknight.ensemble.settings import HEADS

import torch
from torch import Tensor, nn


class CheHead(nn.Module):
    """h1 = LN1(FC1 e), h2 = LN2(FC2 h1), out = α·h1 + (1−α)·h2 (Che et al. 2023, eq. 1-3).

    `alpha` is the start of a learnt α, or its value where `learn_alpha` is off; `layer_norm=False` is an ablation.
    """

    def __init__(self, dim: int, target_dim: int, alpha=0.5, learn_alpha=True, dropout=0.0, layer_norm=True):
        super().__init__()
        norm = nn.LayerNorm if layer_norm else nn.Identity
        self.dropout = nn.Dropout(dropout)
        self.fc1, self.ln1 = nn.Linear(dim, target_dim), norm(target_dim)
        self.fc2, self.ln2 = nn.Linear(target_dim, target_dim), norm(target_dim)
        self.alpha = nn.Parameter(torch.tensor(float(alpha)), requires_grad=learn_alpha)

    def forward(self, image_embedding: Tensor) -> Tensor:
        """(B, dim) -> (B, target_dim), not unit."""
        h1 = self.ln1(self.fc1(self.dropout(root_scaled(image_embedding))))
        h2 = self.ln2(self.fc2(self.dropout(h1)))
        return self.alpha * h1 + (1 - self.alpha) * h2

    def start_as(self, weight: Tensor, bias: Tensor) -> None:
        """Begin as a linear map, (target_dim, dim) and (target_dim,), of image embeddings at length √dim."""
        self.fc1.weight.copy_(weight)
        self.fc1.bias.copy_(bias)
        nn.init.eye_(self.fc2.weight)
        nn.init.zeros_(self.fc2.bias)


class LinearHead(nn.Module):
    """One linear layer: the plain CLIP rows of Che's Table 1."""

    def __init__(self, dim: int, target_dim: int, dropout=0.0):
        super().__init__()
        self.dropout, self.fc = nn.Dropout(dropout), nn.Linear(dim, target_dim)

    def forward(self, image_embedding: Tensor) -> Tensor:
        """(B, dim) -> (B, target_dim), not unit."""
        return self.fc(self.dropout(root_scaled(image_embedding)))

    def start_as(self, weight: Tensor, bias: Tensor) -> None:
        """Begin as a linear map, as above."""
        self.fc.weight.copy_(weight)
        self.fc.bias.copy_(bias)


class WideHead(nn.Module):
    """One wide hidden layer with BatchNorm and GELU; half of it is left out in training."""

    def __init__(self, dim: int, target_dim: int, dropout=0.0, width=2048):
        super().__init__()
        hidden = [nn.Linear(dim, width), nn.BatchNorm1d(width), nn.GELU(), nn.Dropout(0.5)]
        self.layers = nn.Sequential(nn.Dropout(dropout), *hidden, nn.Linear(width, target_dim))

    def forward(self, image_embedding: Tensor) -> Tensor:
        """(B, dim) -> (B, target_dim), not unit."""
        return self.layers(root_scaled(image_embedding))


def head_class(kind: str) -> type[nn.Module]:
    """The class of one of HEADS."""
    return pkgutil.resolve_name(HEADS[kind])


def head_description(kind: str, dim: int, target_dim: int, options: dict) -> dict:
    """What makes a head again: its kind, its sizes, and those of `options` that its class names as arguments."""
    named = inspect.signature(head_class(kind)).parameters
    return {"head": kind, "dim": dim, "target_dim": target_dim} | {k: v for k, v in options.items() if k in named}


def make_head(description: dict) -> nn.Module:
    """A new head of that description. One saved by 0.3.0 may hold options that the head's class does not name."""
    description = head_description(description["head"], description["dim"], description["target_dim"], description)
    kind, dim, target_dim = (description.pop(name) for name in ("head", "dim", "target_dim"))
    return head_class(kind)(dim, target_dim, **description)
