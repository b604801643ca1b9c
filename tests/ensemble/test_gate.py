from dataclasses import make_dataclass

from clipknight.embedding.embeddings import UNRECOGNISED, Embeddings, unit
from clipknight.ensemble import predictors
from clipknight.ensemble.blending import blend, fit_weights
from clipknight.ensemble.gate import Gate, GatePredictor, cross_fitted_gate, fit_gate, gate_loss, signs_of
from clipknight.ensemble.predictors import load_predictor
from clipknight.training.runs import Run

import numpy as np
import pytest
from safetensors.numpy import save_file
from scipy.optimize import check_grad

ROWS, DIM = 300, 8


@pytest.fixture(scope="module")
def two_kinds():
    """Two members: the first knows the images of one kind, the second the others, and is short where it is unsure."""
    draw = np.random.default_rng(0)
    targets = unit(draw.standard_normal((ROWS, DIM)))
    known = draw.random(ROWS) < 0.5
    noise = np.where(known, 0.1, 1.0)[:, None] * draw.standard_normal((ROWS, DIM))
    first = unit(targets + noise)
    second = unit(targets + noise[::-1] * 0 + np.where(known, 1.0, 0.1)[:, None] * draw.standard_normal((ROWS, DIM)))
    return [first, second * np.where(known, 0.3, 0.9)[:, None]], targets, known


def score(rows, targets):
    return float((unit(rows) * targets).sum(axis=1).mean())


def test_whom_to_believe_is_found_for_each_image(two_kinds):
    members, targets, known = two_kinds
    gate = fit_gate(members, targets, np.ones(ROWS))
    rows, best = gate.predict(members), blend(members, fit_weights(members, targets))
    assert rows.dtype == np.float32 and score(rows, targets) > score(best, targets) + 0.02
    alone = [score(member[half], targets[half]) for member, half in zip(members, (known, ~known))]
    assert score(rows, targets) == pytest.approx(np.mean(alone), abs=0.03)


def test_a_rows_length_is_the_cosine_to_expect(two_kinds):
    members, targets, _ = two_kinds
    blurred = [member + 0.8 * np.roll(member, 1, axis=0) * (np.arange(ROWS) % 3 == 0)[:, None] for member in members]
    gate = fit_gate(blurred, targets, np.ones(ROWS))
    rows = gate.predict(blurred)
    lengths, cosines = np.linalg.norm(rows, axis=1), (unit(rows) * targets).sum(axis=1)
    assert lengths.mean() == pytest.approx(cosines.mean(), abs=0.01)
    assert np.corrcoef(lengths, cosines)[0, 1] > 0.3
    assert (lengths < gate.unfamiliar).mean() == pytest.approx(0.01, abs=0.005)
    assert gate.notes == {"unfamiliar": gate.unfamiliar}


def test_an_image_in_which_a_member_recognises_nothing_is_unlike_others(two_kinds):
    members, targets, _ = two_kinds
    gate = fit_gate(members, targets, np.ones(ROWS))
    second = members[1].copy()
    second[7] *= UNRECOGNISED / np.linalg.norm(second[7])
    lengths = np.linalg.norm(gate.predict([members[0], second]), axis=1)
    assert lengths[7] < gate.unfamiliar and (lengths < gate.unfamiliar).mean() < 0.03


def test_the_slope_of_the_loss(two_kinds):
    members, targets, _ = two_kinds
    signs = np.concatenate([np.ones((ROWS, 1)), signs_of(members)], axis=1)
    rows = np.stack(members, axis=1)
    moments = signs, rows @ rows.transpose(0, 2, 1), np.einsum("nmd,nd->nm", rows, targets), np.full(ROWS, 1 / ROWS)
    at = np.random.default_rng(1).standard_normal(signs.shape[1] * 2)
    assert check_grad(lambda x: gate_loss(x, *moments)[0], lambda x: gate_loss(x, *moments)[1], at) < 1e-5


def test_images_that_count_for_nothing_change_nothing(two_kinds):
    members, targets, known = two_kinds
    whole = fit_gate(members, targets, known.astype(float))
    part = fit_gate([member[known] for member in members], targets[known], np.ones(known.sum()))
    np.testing.assert_allclose(whole.predict(members), part.predict(members), atol=1e-4)


def test_a_rows_own_fold_never_influences_it(two_kinds):
    members, targets, _ = two_kinds
    fold = np.arange(ROWS) % 3
    rows, gates = cross_fitted_gate(members, targets, np.ones(ROWS), fold)
    changed = np.where((fold == 1)[:, None], targets[::-1], targets)
    again, others = cross_fitted_gate(members, changed, np.ones(ROWS), fold)
    np.testing.assert_array_equal(again[fold == 1], rows[fold == 1])
    assert len(gates) == 3 and not np.array_equal(again[fold == 0], rows[fold == 0])
    np.testing.assert_array_equal(others[1].coefficients, gates[1].coefficients)


def test_saved_and_loaded_predicts_the_same(two_kinds, tmp_path):
    members, targets, _ = two_kinds
    gate = fit_gate(members, targets, np.ones(ROWS))
    gate.save(tmp_path / "gate.safetensors")
    again = Gate.load(tmp_path / "gate.safetensors")
    np.testing.assert_allclose(again.predict(members), gate.predict(members), atol=1e-5)
    assert (again.unfamiliar, again.weights) == (gate.unfamiliar, gate.weights)
    save_file({"coefficients": np.eye(3, dtype=np.float32)}, tmp_path / "odd.safetensors")
    with pytest.raises(ValueError, match="odd.safetensors holds no gate: make the run again by src/blend.py"):
        Gate.load(tmp_path / "odd.safetensors")


def test_the_runs_predictor_asks_its_members(two_kinds, monkeypatch):
    members, targets, _ = two_kinds
    settings = make_dataclass("Settings", [])()
    for name in ("gate_a", "gate_b"):
        Run.start(name, settings, "member")
    run = Run.start("gated", settings, "gate", members=["gate_a", "gate_b"], weights=[0.5, 0.5])
    gate = fit_gate(members, targets, np.ones(ROWS))
    gate.save(run.folder / Gate.file)

    class Member:
        def __init__(self, run, device):
            self.rows = members["ab".index(run.name[-1])].astype(np.float32)

        def predict(self, dataset, **options):
            return Embeddings([f"i{i}" for i in range(ROWS)], self.rows)

    monkeypatch.setitem(predictors.PREDICTORS, "member", f"{__name__}:Member")
    monkeypatch.setattr(f"{__name__}.Member", Member, raising=False)
    predictor = load_predictor(run, "cpu")
    assert isinstance(predictor, GatePredictor)
    rows = predictor.predict(None)
    np.testing.assert_allclose(rows.vectors, gate.predict(members), atol=1e-5)
    assert rows.meta == {"run": "gated", "unfamiliar": pytest.approx(gate.unfamiliar)}
