import math
import sys
from dataclasses import make_dataclass
from functools import partial

from clipknight.embedding.embeddings import Embeddings, unit
from clipknight.ensemble import predictors
from clipknight.ensemble.blending import balanced_folds, blend, cross_fitted, fit_weights
from clipknight.ensemble.predictors import load_predictor
from clipknight.ensemble.stacking import (
    Stacker,
    StackPredictor,
    cross_fitted_stack,
    fit_bands,
    fit_ridge,
    fit_trees,
    principal_components,
    side_by_side,
)
from clipknight.training.runs import Run

import numpy as np
import pytest

ROWS, DIM = 240, 8


def turned(seed=0):
    """Members tell the targets turned: a matrix mends what no weights can. Groups of three rows."""
    draw = np.random.default_rng(seed)
    meaning = draw.standard_normal((ROWS, DIM))
    captions = draw.integers(1, 5, ROWS)
    target_sums = unit(meaning) * captions[:, None] * 0.7
    turn = np.linalg.qr(np.eye(DIM) + 0.4 * draw.standard_normal((DIM, DIM)))[0]
    turn *= np.sign(np.diag(turn))
    members = [length * (meaning @ turn + 0.5 * draw.standard_normal((ROWS, DIM))) for length in (1, 30)]
    return members, target_sums, captions, np.arange(ROWS) // 3


def shared_out(seed=0):
    """One member knows the first half of the components, the other the second."""
    draw = np.random.default_rng(seed)
    components = np.linalg.qr(draw.standard_normal((DIM, DIM)))[0]
    meaning = draw.standard_normal((ROWS, DIM))
    noise = np.repeat([[0.1, 2.0], [2.0, 0.1]], DIM // 2, axis=1)
    members = [(meaning + noise[i] * draw.standard_normal((ROWS, DIM))) @ components.T for i in range(2)]
    captions = draw.integers(1, 5, ROWS)
    return members, unit(meaning @ components.T) * captions[:, None], captions, np.arange(ROWS) // 3, components


def switched(seed=0, rows=900):
    """Which member knows the second half of the components is told by the first component's sign: for trees to find."""
    draw = np.random.default_rng(seed)
    meaning = draw.standard_normal((rows, DIM))
    meaning[:, 0] = np.where(meaning[:, 0] > 0, 2, -2)
    members = [meaning.copy(), meaning.copy()]
    for member, blind in zip(members, (meaning[:, 0] > 0, meaning[:, 0] < 0)):
        member[blind, DIM // 2 :] *= -1
    captions = draw.integers(1, 5, rows)
    return members, unit(meaning) * captions[:, None], captions, np.arange(rows) // 3


def score(rows, target_sums, captions):
    return float((rows * target_sums).sum() / captions.sum())


def trees(members, target_sums, captions, groups, seed=0):
    return fit_trees(members, target_sums, captions, groups, np.eye(DIM), folds=3, seed=seed)


def bands(components, starts):
    return lambda members, target_sums, *_: fit_bands(members, target_sums, components, starts)


def test_a_matrix_learns_what_weights_cannot():
    members, target_sums, captions, groups = turned()
    blended, _, _ = cross_fitted(members, target_sums, groups, 4)
    stacked, stackers = cross_fitted_stack(fit_ridge, members, target_sums, captions, groups, 4)
    np.testing.assert_allclose(np.linalg.norm(stacked, axis=1), 1, atol=1e-6)
    assert stacked.dtype == np.float32 and len(stackers) == 4 and all(s.found["penalty"] < 1 for s in stackers)
    assert score(stacked, target_sums, captions) > score(blended, target_sums, captions) + 0.05


def test_each_band_is_told_by_the_member_that_knows_it():
    members, target_sums, captions, groups, components = shared_out()
    blended, _, _ = cross_fitted(members, target_sums, groups, 4)
    stacked, stackers = cross_fitted_stack(bands(components, [4, 99]), members, target_sums, captions, groups, 4)
    assert score(stacked, target_sums, captions) > score(blended, target_sums, captions) + 0.05
    for stacker in stackers:
        (first, of_second), (of_first, second) = stacker.found["components 1-4"], stacker.found["components 5-8"]
        assert min(first, second) > 10 * max(of_first, of_second) >= 0


def test_trees_learn_when_to_trust_which_member():
    members, target_sums, captions, groups = switched()
    boosted, stackers = cross_fitted_stack(trees, members, target_sums, captions, groups, 3)
    ridge, _ = cross_fitted_stack(fit_ridge, members, target_sums, captions, groups, 3)
    assert boosted.dtype == np.float32 and all(stacker.found == {"trees": 100} for stacker in stackers)
    assert score(boosted, target_sums, captions) > score(ridge, target_sums, captions) + 0.03


def test_trees_with_nothing_to_learn_leave_the_blend():
    draw = np.random.default_rng(2)
    said = unit(draw.standard_normal((ROWS, DIM)))
    targets = unit(said + 2 * draw.standard_normal((ROWS, DIM)))
    members, captions = [said, unit(said + draw.standard_normal(said.shape))], np.ones(ROWS, int)
    stacker = trees(members, targets, captions, np.arange(ROWS))
    assert stacker.found == {"trees": 0}
    expected = blend(members, fit_weights(members, targets))
    np.testing.assert_allclose(stacker.predict(members), expected, atol=1e-5)


def test_trees_correct_along_the_leading_components_alone(monkeypatch):
    monkeypatch.setattr("clipknight.ensemble.stacking.COMPONENTS", 5)
    members, target_sums, captions, groups = switched()
    stacker = trees(members, target_sums, captions, groups)
    added = stacker.trees.predict(members, 100)
    assert np.abs(added[:, 4]).min() > 0 and not added[:, 5:].any()


def test_one_band_is_the_weighted_blend():
    members, target_sums, _, _, components = shared_out()
    rows = fit_bands(members, target_sums, components, []).predict(members)
    np.testing.assert_allclose(rows, blend(members, fit_weights(members, target_sums)), atol=2e-3)


def test_no_band_weights_near_by_score_higher():
    members, target_sums, captions, _, components = shared_out(1)
    along = [unit(member) @ components for member in members]

    def scored(weights):  # bands, members
        mixed = sum(np.repeat(weights[:, i], [2, 6]) * rows for i, rows in enumerate(along))
        return score(unit(mixed), target_sums @ components, captions)

    stacker = fit_bands(members, target_sums, components, [2])
    weights = np.array(list(stacker.found.values()))
    best = score(stacker.predict(members), target_sums, captions)
    assert scored(weights) == pytest.approx(best, abs=1e-5)
    for at in np.ndindex(2, 2):
        for step in (-0.03, 0.03):
            moved = weights.copy()
            moved[at] = max(0, moved[at] + step)
            assert scored(moved) <= best + 1e-6


def test_the_components_of_targets():
    targets = unit(np.array([[3.0, 0.1, 0], [3, -0.1, 1], [3, 0.1, -1], [3, -0.1, 0]]))
    components = principal_components(targets)
    np.testing.assert_allclose(components.T @ components, np.eye(3), atol=1e-9)
    lengths = np.linalg.norm(targets @ components, axis=0)
    assert lengths[0] > lengths[1] > lengths[2]
    np.testing.assert_allclose(np.abs(components[:, 0]), unit(np.array([1.0, 0, 0])), atol=0.05)


def test_members_that_say_nothing_more_are_not_corrected():
    """Targets at random around what the members say: the strongest penalties win, and the blend is hardly left."""
    draw = np.random.default_rng(2)
    said = unit(draw.standard_normal((ROWS, DIM)))
    targets = unit(said + 2 * draw.standard_normal((ROWS, DIM)))
    members, captions = [said, 5 * said], np.ones(ROWS, int)
    stacker = fit_ridge(members, targets, captions, np.arange(ROWS), 5)
    assert stacker.found["penalty"] == "infinite" or stacker.found["penalty"] >= 0.3
    assert (stacker.predict(members) * said).sum(axis=1).mean() > 0.98


def ridge_by_hand(inputs, left, captions, penalty):
    """Each caption a row: (X'X + λ)⁻¹ X'Y, captions scaled to count one an image on average."""
    x, y = np.repeat(inputs, captions, axis=0), np.repeat(left, captions, axis=0)
    gram = x.T @ x / captions.mean() + penalty * len(inputs) * np.eye(inputs.shape[1])
    return np.linalg.solve(gram, x.T @ y / captions.mean())


def test_the_regression_by_hand():
    members, target_sums, captions, groups = turned(3)
    stacker = fit_ridge(members, target_sums, captions, groups)
    inputs = np.concatenate([unit(member) for member in members], axis=1)
    np.testing.assert_allclose(side_by_side(members), inputs, atol=1e-6)
    mixed = sum(w * unit(member) for w, member in zip(fit_weights(members, target_sums), members, strict=True))
    wanted = target_sums / captions[:, None]
    one_each = np.repeat(np.arange(ROWS), captions)
    scale = np.vdot(mixed[one_each], wanted[one_each]) / np.vdot(mixed[one_each], mixed[one_each])
    correction = ridge_by_hand(inputs, wanted - scale * mixed, captions, stacker.found["penalty"])
    np.testing.assert_allclose(stacker.predict(members), unit(scale * mixed + inputs @ correction), atol=1e-4)


def test_an_infinite_penalty_is_the_blend(monkeypatch):
    monkeypatch.setattr("clipknight.ensemble.stacking.PENALTIES", (math.inf,))
    members, target_sums, captions, groups = turned()
    stacker = fit_ridge(members, target_sums, captions, groups)
    assert stacker.found == {"penalty": "infinite"}
    expected = blend(members, fit_weights(members, target_sums))
    np.testing.assert_allclose(stacker.predict(members), expected, atol=1e-5)


@pytest.mark.parametrize("method", ["ridge", "bands", "trees"])
def test_a_rows_own_fold_never_influences_its_stack(method):
    members, target_sums, captions, groups, components = shared_out()
    fit = {"ridge": fit_ridge, "bands": bands(components, [4]), "trees": trees}[method]
    stacked, stackers = cross_fitted_stack(fit, members, target_sums, captions, groups, 4, seed=0)
    fold, draw = balanced_folds(groups, 4, seed=0), np.random.default_rng(2)
    for f in range(4):
        changed, counts = target_sums.copy(), captions.copy()
        changed[fold == f] = draw.standard_normal(((fold == f).sum(), DIM))
        counts[fold == f] = 9
        again, others = cross_fitted_stack(fit, members, changed, counts, groups, 4, seed=0)
        np.testing.assert_array_equal(again[fold == f], stacked[fold == f])
        assert others[f].found == stackers[f].found and not np.array_equal(again[fold != f], stacked[fold != f])


def coded(groups, dim=40):
    """An honest, weak member, and one whose rows are random codes; rows of a group share the code and the target."""
    draw = np.random.default_rng(4)
    targets = unit(draw.standard_normal((ROWS, dim)))[groups]
    codes = unit(draw.standard_normal((ROWS, dim)))[groups]
    weak = unit(targets + 0.25 * draw.standard_normal((ROWS, dim)))
    return [weak, codes], targets, np.ones(ROWS, int), groups


def test_a_member_that_is_a_code_of_the_row_gains_nothing():
    (weak, codes), targets, captions, groups = coded(np.arange(ROWS))
    honest, _ = cross_fitted_stack(fit_ridge, [weak, weak[:, ::-1]], targets, captions, groups)
    stacked, _ = cross_fitted_stack(fit_ridge, [weak, codes], targets, captions, groups)
    assert score(stacked, targets, captions) < score(honest, targets, captions) + 0.005
    # To a stacker fitted on its row, the code gives the target away: the folds alone keep that out.
    twice = [np.tile(rows, (2, 1)) for rows in (weak, codes, targets)]
    seen, _ = cross_fitted_stack(fit_ridge, twice[:2], twice[2], np.tile(captions, 2), np.arange(2 * ROWS))
    assert score(seen, twice[2], np.tile(captions, 2)) > score(stacked, targets, captions) + 0.03


def test_a_code_of_the_group_gains_nothing_where_groups_stay_whole():
    members, targets, captions, groups = coded(np.arange(ROWS) // 4)
    whole, _ = cross_fitted_stack(fit_ridge, members, targets, captions, groups)
    torn, _ = cross_fitted_stack(fit_ridge, members, targets, captions, np.arange(ROWS))
    blended, _, _ = cross_fitted(members, targets, groups)
    assert score(whole, targets, captions) < score(blended, targets, captions) + 0.005
    assert score(torn, targets, captions) > score(whole, targets, captions) + 0.05


def test_the_seed_decides():
    members, target_sums, captions, groups = turned()
    fitted = [(partial(fit_ridge, seed=seed), members, target_sums, captions, groups, 4, seed) for seed in (0, 0, 1)]
    rows = [cross_fitted_stack(*arguments)[0] for arguments in fitted]
    np.testing.assert_array_equal(rows[0], rows[1])
    assert not np.array_equal(rows[0], rows[2])


def test_fewer_groups_than_folds():
    members, target_sums, captions, _ = turned()
    assert fit_ridge(members, target_sums, captions, np.arange(ROWS) % 2, folds=5).found["penalty"] < 1
    with pytest.raises(ValueError, match="1 groups"):
        fit_ridge(members, target_sums, captions, np.zeros(ROWS), folds=5)


@pytest.mark.parametrize("fit", [fit_ridge, trees])
def test_a_saved_stacker_predicts_the_same(tmp_path, fit):
    members, *fitted = switched()
    stacker = fit(members, *fitted)
    stacker.save(tmp_path / "stacker.safetensors")
    again = Stacker.load(tmp_path / "stacker.safetensors")
    np.testing.assert_array_equal(again.predict(members), stacker.predict(members))
    assert again.found == stacker.found
    with pytest.raises(FileNotFoundError, match="make the run again with src/blend.py"):
        Stacker.load(tmp_path / "none.safetensors")


def test_the_predictor_stacks_what_its_members_predict(tmp_path, monkeypatch):
    monkeypatch.setattr("clipknight.training.runs.OUTPUTS", tmp_path)
    members, *fitted = turned()
    ids = np.arange(ROWS).astype(str)

    class Member:
        def __init__(self, run, device):
            self.rows = Embeddings(ids, members["ab".index(run.name)].astype(np.float32))

        def predict(self, dataset, **options):
            return self.rows

    monkeypatch.setattr(predictors, "PREDICTORS", predictors.PREDICTORS | {"member": f"{__name__}:Member"})
    monkeypatch.setattr(sys.modules[__name__], "Member", Member, raising=False)
    settings = make_dataclass("Settings", [])()
    for name in "ab":
        Run.start(name, settings, "member")
    run = Run.start("both", settings, "bands", members=["a", "b"], weights=[0.3, 0.7])
    stacker = fit_ridge(members, *fitted)
    stacker.save(run.folder / "best" / "stacker.safetensors")
    predictor = load_predictor(run, "cpu")
    assert isinstance(predictor, StackPredictor)
    np.testing.assert_allclose(predictor.predict("images").vectors, stacker.predict(members), atol=1e-5)
