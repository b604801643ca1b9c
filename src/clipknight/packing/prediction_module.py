"""A run that predicts as one module, from pixels to predicted embeddings: what can be written as a graph.

Model A is its tower and head. Model B is its encoder, then a product with all keys, the k largest, and the weighted
mean of their values; a refined run and a concepts run likewise. A blend holds its members; those that see an image by
the same tower share it. They must see it in one size: there is one input.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import singledispatchmethod

from clipknight.embedding.embeddings import UNRECOGNISED
from clipknight.embedding.image_encoder import ImageEncoder
from clipknight.embedding.image_graph import ImageTower
from clipknight.ensemble.bands import BandPredictor
from clipknight.ensemble.blending import BlendPredictor
from clipknight.ensemble.concepts import Concepts, ConceptsPredictor
from clipknight.ensemble.gate import LEAST_LENGTH, Gate, GatePredictor
from clipknight.ensemble.model_a import ModelAPredictor
from clipknight.ensemble.model_b import ModelBPredictor
from clipknight.ensemble.predictors import Predictor
from clipknight.ensemble.refined import RefinedPredictor
from clipknight.ensemble.weighted_neighbors import PAPER_NEIGHBORS, WeightedNeighbors

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

Seen = dict[str, Tensor]  # what each tower gives, (B, D), by the tower's name


class PredictionModule(nn.Module):
    """Pixels (B, 3, H, W) -> rows (B, T) as the predictor gives them, in fp32; `encoder` prepares the pixels.

    ValueError for a predictor that no graph can stand for.
    """

    def __init__(self, predictor: Predictor):
        super().__init__()
        parts = _Parts()
        self.rows = parts.rows(predictor)
        self.towers, self.encoder = nn.ModuleDict(parts.towers), parts.encoder
        self.eval()

    def forward(self, pixels: Tensor) -> Tensor:
        return self.rows({name: tower(pixels) for name, tower in self.towers.items()})


class _Parts:
    """What predictors are made of: `towers` by name, each once, and modules from what these see to rows."""

    def __init__(self):
        self.towers: dict[str, nn.Module] = {}
        self.encoder: ImageEncoder | None = None

    @singledispatchmethod
    def rows(self, predictor) -> nn.Module:
        raise ValueError(f"{predictor.name} is of a kind that cannot be exported")

    @rows.register
    def _(self, predictor: ModelAPredictor) -> nn.Module:
        return _Views(self._views(predictor), predictor.head)

    @rows.register
    def _(self, predictor: ModelBPredictor) -> nn.Module:
        return _Views(self._views(predictor), NeighbourMean(predictor.knn, predictor.name), predictor.at_length)

    @rows.register
    def _(self, predictor: RefinedPredictor) -> nn.Module:
        return _Chain(self.rows(predictor.source), NeighbourMean(predictor.knn, predictor.name), predictor.shift)

    @rows.register
    def _(self, predictor: ConceptsPredictor) -> nn.Module:
        return _Recognised(self._tower(predictor.encoder, predictor.name), predictor.concepts)

    @rows.register
    def _(self, predictor: BlendPredictor) -> nn.Module:
        members = zip(predictor.members.values(), predictor.weights, strict=True)
        counted = [(member, weight) for member, weight in members if weight]  # one of weight 0 costs time alone
        return _Weighted([self.rows(member) for member, _ in counted], [weight for _, weight in counted])

    @rows.register
    def _(self, predictor: BandPredictor) -> nn.Module:
        members = [self.rows(member) for member in predictor.members.values()]
        return _Banded(members, predictor.bands.coefficients)

    @rows.register
    def _(self, predictor: GatePredictor) -> nn.Module:
        return _Gated([self.rows(member) for member in predictor.members.values()], predictor.gate)

    def _views(self, predictor: ModelAPredictor | ModelBPredictor) -> list[str]:
        if predictor.tta_sizes:
            raise ValueError(
                f"{predictor.name} predicts from images of several sizes (--tta_sizes), a graph has one: make the run "
                "again without them"
            )
        encoders = [predictor.encoder]
        encoders += [replace(predictor.encoder, mirrored=True)] if predictor.flip_tta else []
        return [self._tower(encoder, predictor.name) for encoder in encoders]

    def _tower(self, encoder: ImageEncoder, run: str) -> str:
        """The name of the encoder's tower; its weights are its name."""
        first = self.encoder = self.encoder or encoder
        if encoder.preprocess_cfg != first.preprocess_cfg:
            sizes = f"{first.image_size} and {encoder.image_size} pixels"
            raise ValueError(
                f"members see an image in different ways ({sizes}; {run} is the first other one), a graph has one "
                "input: export the members one by one"
            )
        name = "tower_" + replace(encoder, precision=torch.float32).fingerprint("visual")
        if name not in self.towers:
            tower = ImageTower(encoder)
            self.towers[name] = nn.Sequential(_Mirror(), tower) if encoder.mirrored else tower
        return name


class _Mirror(nn.Module):
    def forward(self, pixels: Tensor) -> Tensor:
        return pixels.flip(-1)


class _Views(nn.Module):
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


class _Chain(nn.Module):
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


class _Recognised(nn.Module):
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


class _Weighted(nn.Module):
    """The weighted mean of the members' rows, each counted at length 1 or less, at length 1."""

    def __init__(self, members: Sequence[nn.Module], weights: Sequence[float]):
        super().__init__()
        self.members, self.weights = nn.ModuleList(members), [float(weight) for weight in weights]

    def forward(self, seen: Seen) -> Tensor:
        rows = [member(seen) for member in self.members]
        rows = [row / row.norm(dim=-1, keepdim=True).clamp(min=1) for row in rows]
        return normalize(sum(weight * row for weight, row in zip(self.weights, rows, strict=True)), dim=-1)


class _Banded(nn.Module):
    """The members' unit rows side by side, times the coefficients, at length 1."""

    def __init__(self, members: Sequence[nn.Module], coefficients: np.ndarray):
        super().__init__()
        self.members = nn.ModuleList(members)
        self.register_buffer("coefficients", torch.from_numpy(np.array(coefficients, np.float32)))

    def forward(self, seen: Seen) -> Tensor:
        rows = [normalize(member(seen), dim=-1) for member in self.members]
        return normalize(torch.cat(rows, dim=-1) @ self.coefficients, dim=-1)


class _Gated(nn.Module):
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
        nothing = (lengths < 2 * UNRECOGNISED).any(dim=1)
        expected = torch.where(nothing, expected.clamp(max=self.least), expected)
        return mixed * expected.clamp(LEAST_LENGTH, 1)[:, None]
