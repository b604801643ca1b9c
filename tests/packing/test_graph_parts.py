from clipknight.embedding.embeddings import UNRECOGNISED, unit
from clipknight.ensemble.gate import fit_gate
from clipknight.ensemble.knn import DistanceWeightedKNN
from clipknight.packing.graph_parts import Chain, Gated, NeighbourMean, Views

import numpy as np
import pytest
import torch
from torch import nn


class Given(nn.Module):
    """A member that knows its rows."""

    def __init__(self, rows):
        super().__init__()
        self.rows = torch.from_numpy(rows)

    def forward(self, seen):
        return self.rows


@pytest.fixture
def rows():
    draw = np.random.default_rng(0)
    return [(unit(draw.standard_normal((40, 8))) * draw.random((40, 1))).astype(np.float32) for _ in range(3)]


def test_a_gate_weighs_members_as_its_run_does(rows):
    gate = fit_gate(rows, unit(rows[0] + rows[1]), np.ones(40))
    module = Gated([Given(member) for member in rows], gate)
    np.testing.assert_allclose(module({}).numpy(), gate.predict(rows), atol=1e-5)
    short = [rows[0], np.where(np.arange(40)[:, None] % 2, rows[1], UNRECOGNISED * unit(rows[1])), *rows[2:]]
    module = Gated([Given(member) for member in short], gate)
    np.testing.assert_allclose(module({}).numpy(), gate.predict(short), atol=1e-5)


def test_neighbours_that_disagree_give_short_rows(rows):
    knn = DistanceWeightedKNN(5, unit_output=False).fit(rows[1], rows[2])
    told = Views(["eye"], NeighbourMean(knn, "b"), at_length=False)({"eye": torch.from_numpy(rows[0])})
    np.testing.assert_allclose(told.numpy(), knn.predict(rows[0]), atol=1e-5)
    shift = rows[0].mean(axis=0)
    refined = Chain(Given(rows[0]), NeighbourMean(knn, "b"), shift)({})
    np.testing.assert_allclose(refined.numpy(), knn.predict(rows[0] - shift), atol=1e-5)
