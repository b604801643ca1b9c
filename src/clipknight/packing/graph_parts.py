"""What a prediction's graph is made of, in torch: views, neighbours, concepts, blends, bands and the gate.

Each gives rows (B, T) of what the towers see; pixels and weights are fp32.
"""

from collections.abc import Sequence

from clipknight.embedding.embeddings import LEAST_RECOGNISED, UNRECOGNISED
from clipknight.ensemble.concepts import Concepts
from clipknight.ensemble.gate import LEAST_LENGTH, Gate
from clipknight.ensemble.weighted_neighbors import PAPER_NEIGHBORS, WeightedNeighbors

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

Seen = dict[str, Tensor]  # what each tower gives, (B, D), by the tower's name


class Mirror(nn.Module):
    """Pixels as in a mirror."""

    def forward(self, pixels: Tensor) -> Tensor:
        return pixels.flip(-1)


class Views(nn.Module):
    """The mean of what `tell` says of each view, all at length 1, or as long as it is told."""

    def __init__(self, views: Sequence[str], tell: nn.Module, at_length: bool = True):
        super().__init__()
        self.views, self.tell, self.at_length = views, tell, at_length

    def forward(self, seen: Seen) -> Tensor:
        if not self.at_length:
            return sum(self.tell(normalize(seen[view], dim=-1)) for view in self.views) / len(self.views)
        return normalize(
            sum(normalize(self.tell(normalize(seen[view], dim=-1)), dim=-1) for view in self.views), dim=-1
        )


class Chain(nn.Module):
    """`second` of the rows of `first` less `shift`."""

    def __init__(self, first: nn.Module, second: nn.Module, shift: np.ndarray | float):
        super().__init__()
        self.first, self.second = first, second
        self.register_buffer("shift", torch.from_numpy(np.array(shift, np.float32)))

    def forward(self, seen: Seen) -> Tensor:
        return self.second(normalize(self.first(seen) - self.shift, dim=-1))


class NeighbourMean(nn.Module):
    """The KNN's prediction for unit queries (B, D), found exactly. ValueError for one that does anything else.

    It is fp32 throughout: 1 - cos is known to 1e-7, whose sixth power is nothing beside delta.
    """

    def __init__(self, knn: WeightedNeighbors, run: str):
        super().__init__()
        if knn.index != "exact" or knn.metric != "cosine" or knn.weights != "inverse":
            raise ValueError(
                f"{run} searches by an index ({knn.index}) that a graph has not: fit it again with --index exact"
            )
        self.register_buffer("keys", torch.from_numpy(np.array(knn.keys_, np.float32)))
        self.register_buffer("values", torch.from_numpy(np.array(knn.values_, np.float32)))
        self.k = min(knn.n_neighbors or PAPER_NEIGHBORS, len(self.keys))
        self.power, self.delta, self.at_length = knn.power, knn.delta, knn.unit_output

    def forward(self, queries: Tensor) -> Tensor:
        cosines, rows = (queries @ self.keys.T).topk(self.k, dim=1)
        weights = 1 / ((1 - cosines).clamp(min=0) ** self.power + self.delta)
        shares = weights / weights.sum(dim=1, keepdim=True)
        mean = (shares[:, None] @ self.values[rows])[:, 0]
        return normalize(mean, dim=-1) if self.at_length else mean


class Recognised(nn.Module):
    """What `Concepts.predict` says of the features that one tower gives."""

    def __init__(self, tower: str, concepts: Concepts):
        super().__init__()
        known = concepts.recogniser
        self.tower, self.of_unit, self.top, self.familiar = tower, known.of_unit, concepts.top, concepts.familiar
        for name, array in (("weight", known.weight), ("bias", known.bias), ("vectors", concepts.vectors)):
            self.register_buffer(name, torch.from_numpy(np.array(array, np.float32)))

    def forward(self, seen: Seen) -> Tensor:
        features = normalize(seen[self.tower], dim=-1) if self.of_unit else seen[self.tower]
        logits = features @ self.weight.T + self.bias
        probabilities = logits.softmax(dim=-1)
        top = probabilities.topk(self.top, dim=1).values
        kept, sure = torch.where(probabilities >= top[:, -1:], probabilities, 0.0), top[:, :1]
        if self.familiar is not None:
            # log Σ exp of the logits, which OpenVINO 2026.4 gets wrong here when it is called by that name.
            familiar = logits.amax(dim=-1, keepdim=True) - top[:, :1].log() >= self.familiar
            sure = torch.where(familiar, sure, UNRECOGNISED)
        return normalize(kept @ self.vectors, dim=-1) * sure


class Weighted(nn.Module):
    """The weighted mean of the members' rows, each counted at length 1 or less, at length 1."""

    def __init__(self, members: Sequence[nn.Module], weights: Sequence[float]):
        super().__init__()
        self.members, self.weights = nn.ModuleList(members), [float(weight) for weight in weights]

    def forward(self, seen: Seen) -> Tensor:
        rows = [member(seen) for member in self.members]
        rows = [row / row.norm(dim=-1, keepdim=True).clamp(min=1) for row in rows]
        return normalize(sum(weight * row for weight, row in zip(self.weights, rows, strict=True)), dim=-1)


class Banded(nn.Module):
    """The members' unit rows side by side, times the coefficients, at length 1."""

    def __init__(self, members: Sequence[nn.Module], coefficients: np.ndarray):
        super().__init__()
        self.members = nn.ModuleList(members)
        self.register_buffer("coefficients", torch.from_numpy(np.array(coefficients, np.float32)))

    def forward(self, seen: Seen) -> Tensor:
        rows = [normalize(member(seen), dim=-1) for member in self.members]
        return normalize(torch.cat(rows, dim=-1) @ self.coefficients, dim=-1)


class Gated(nn.Module):
    """What `Gate.predict` makes of the members' rows."""

    def __init__(self, members: Sequence[nn.Module], gate: Gate):
        super().__init__()
        self.members, self.least = nn.ModuleList(members), gate.least
        first, second = np.triu_indices(len(members), 1)
        arrays = {"first": first, "second": second}
        arrays |= {name: np.array(getattr(gate, name), np.float32) for name in ("coefficients", "expected")}
        for name, array in arrays.items():
            self.register_buffer(name, torch.from_numpy(array))

    def forward(self, seen: Seen) -> Tensor:
        rows = torch.stack([member(seen) for member in self.members], dim=1)  # (B, M, T)
        directions, lengths = normalize(rows, dim=-1), rows.norm(dim=-1)
        agreement = (directions @ directions.transpose(1, 2))[:, self.first, self.second]
        signs = torch.cat([torch.ones_like(lengths[:, :1]), agreement, lengths], dim=1)
        shares = (signs @ self.coefficients).softmax(dim=-1)
        counted = rows / lengths.clamp(min=1)[:, :, None]
        mixed = normalize((shares[:, :, None] * counted).sum(dim=1), dim=-1)
        expected = signs @ self.expected
        nothing = (lengths < LEAST_RECOGNISED).any(dim=1)
        expected = torch.where(nothing, expected.clamp(max=self.least), expected)
        return mixed * expected.clamp(LEAST_LENGTH, 1)[:, None]
