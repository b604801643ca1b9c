"""A run that predicts as one module, from pixels to predicted embeddings: what can be written as a graph.

Model A is its tower and head. Model B is its encoder, then a product with all keys, the k largest, and the weighted
mean of their values; a refined run and a concepts run likewise. A blend holds its members; those that see an image by
the same tower share it. They must see it in one size: there is one input.
"""

from dataclasses import replace
from functools import singledispatchmethod

from clipknight.embedding.image_encoder import ImageEncoder
from clipknight.embedding.image_graph import ImageTower
from clipknight.ensemble.bands import BandPredictor
from clipknight.ensemble.blending import BlendPredictor
from clipknight.ensemble.concepts import ConceptsPredictor
from clipknight.ensemble.gate import GatePredictor
from clipknight.ensemble.model_a import ModelAPredictor
from clipknight.ensemble.model_b import ModelBPredictor
from clipknight.ensemble.predictors import Predictor
from clipknight.ensemble.refined import RefinedPredictor
from clipknight.packing.graph_parts import Banded, Chain, Gated, Mirror, NeighbourMean, Recognised, Views, Weighted

import torch
from torch import Tensor, nn


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
        return Views(self._views(predictor), predictor.head)

    @rows.register
    def _(self, predictor: ModelBPredictor) -> nn.Module:
        return Views(self._views(predictor), NeighbourMean(predictor.knn, predictor.name), predictor.at_length)

    @rows.register
    def _(self, predictor: RefinedPredictor) -> nn.Module:
        return Chain(self.rows(predictor.source), NeighbourMean(predictor.knn, predictor.name), predictor.shift)

    @rows.register
    def _(self, predictor: ConceptsPredictor) -> nn.Module:
        return Recognised(self._tower(predictor.encoder, predictor.name), predictor.concepts)

    @rows.register
    def _(self, predictor: BlendPredictor) -> nn.Module:
        members = zip(predictor.members.values(), predictor.weights, strict=True)
        counted = [(member, weight) for member, weight in members if weight]  # one of weight 0 costs time alone
        return Weighted([self.rows(member) for member, _ in counted], [weight for _, weight in counted])

    @rows.register
    def _(self, predictor: BandPredictor) -> nn.Module:
        members = [self.rows(member) for member in predictor.members.values()]
        return Banded(members, predictor.bands.coefficients)

    @rows.register
    def _(self, predictor: GatePredictor) -> nn.Module:
        return Gated([self.rows(member) for member in predictor.members.values()], predictor.gate)

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
            self.towers[name] = nn.Sequential(Mirror(), tower) if encoder.mirrored else tower
        return name
