"""What turns vectors into a prefix: Knight's mapper takes each by itself, MacCap's gathers them into a fixed number."""

import math

from clipknight.captioning.settings import QUERIES
from clipknight.embedding.scaling import root_scaled

import torch
from torch import Tensor, nn

HEADS = 8  # the authors'; as many of them as divide the vectors' numbers


class Mapper(nn.Sequential):
    """Knight's: three layers with ReLU between, for each vector by itself: (B, k, D) -> (B, k, decoder's width)."""

    def __init__(self, dim: int, width: int):
        super().__init__(nn.Linear(dim, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))

    @property
    def sizes(self) -> dict[str, int]:
        """What it is rebuilt from, beside the decoder."""
        return {"dim": self[0].in_features}


class QueryMapper(nn.Module):
    """MacCap's (Qiu et al. 2024): (B, n, D) -> (B, queries, decoder's width), whatever n and the order of the vectors.

    The queries attend to themselves and to the vectors in one transformer decoder layer; three linear layers with ReLU
    between follow. Vectors are taken at length √D, also after noise.
    """

    def __init__(self, dim: int, width: int, queries: int = QUERIES):
        super().__init__()
        self.queries = nn.Parameter(torch.randn(queries, dim))
        self.layer = nn.TransformerDecoderLayer(dim, math.gcd(dim, HEADS), 4 * dim, batch_first=True)
        self.norm = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, width))

    def forward(self, vectors: Tensor) -> Tensor:
        gathered = self.layer(self.queries.expand(len(vectors), -1, -1), root_scaled(vectors))
        return self.mlp(self.norm(gathered))

    @property
    def sizes(self) -> dict[str, int]:
        """What it is rebuilt from, beside the decoder."""
        return {"dim": self.queries.shape[1], "queries": len(self.queries)}
