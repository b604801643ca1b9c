import math
from dataclasses import make_dataclass

from clipknight import blending
from clipknight.blending import balanced_folds, blend, cross_fitted, fit_weights
from clipknight.embeddings import Embeddings, unit
from clipknight.runs import Run
from clipknight.stacking import RidgeStacker, StackPredictor, cross_fitted_ridge, fit_ridge, side_by_side

import numpy as np
import pytest

ROWS, DIM = 240, 8


def problem(seed=0):
    """Targets that the members tell turned: one rotation mends what no weights can. Groups of three rows."""
    draw = np.random.default_rng(seed)
    meaning = draw.standard_normal((ROWS, DIM))
    captions = draw.integers(1, 5, ROWS)
    target_sums = unit(meaning) * captions[:, None] * 0.7
    turn = np.linalg.qr(np.eye(DIM) + 0.4 * draw.standard_normal((DIM, DIM)))[0]
    turn *= np.sign(np.diag(turn))
    members = [length * (meaning @ turn + 0.5 * draw.standard_normal((ROWS, DIM))) for length in (1, 30)]
    return members, target_sums, captions, np.arange(ROWS) // 3


def score(rows, target_sums, captions):
    return float((rows * target_sums).sum() / captions.sum())


def test_it_learns_what_weights_cannot():
    members, target_sums, captions, groups = problem()
    blended, _, _ = cross_fitted(members, target_sums, groups, 4)
    stacked, penalties = cross_fitted_ridge(members, target_sums, captions, groups, 4)
    np.testing.assert_allclose(np.linalg.norm(stacked, axis=1), 1, atol=1e-6)
    assert stacked.dtype == np.float32 and len(penalties) == 4 and max(penalties) < 1
    assert score(stacked, target_sums, captions) > score(blended, target_sums, captions) + 0.05


def test_without_coefficients_it_is_the_blend():
    members, *_ = problem()
    stacker = RidgeStacker(np.array([0.6, 0.4]), np.zeros((2 * DIM, DIM), np.float32), 0.7, math.inf)
    np.testing.assert_allclose(stacker.predict(members), blend(members, [0.6, 0.4]), atol=1e-6)


def test_members_that_say_nothing_more_are_not_corrected():
    """Targets at random around what the members say: the strongest penalties win, and the blend is hardly left."""
    draw = np.random.default_rng(2)
    said = unit(draw.standard_normal((ROWS, DIM)))
    targets = unit(said + 2 * draw.standard_normal((ROWS, DIM)))
    members, captions = [said, 5 * said], np.ones(ROWS, int)
    stacker = fit_ridge(members, targets, captions, np.arange(ROWS), 5)
    assert stacker.penalty >= 0.3
    assert (stacker.predict(members) * said).sum(axis=1).mean() > 0.98


def ridge_by_hand(inputs, left, captions, penalty):
    """Each caption a row: (X'X + λ)⁻¹ X'Y, captions scaled to count one an image on average."""
    x, y = np.repeat(inputs, captions, axis=0), np.repeat(left, captions, axis=0)
    gram = x.T @ x / captions.mean() + penalty * len(inputs) * np.eye(inputs.shape[1])
    return np.linalg.solve(gram, x.T @ y / captions.mean())


def test_the_regression_by_hand():
    members, target_sums, captions, groups = problem(3)
    stacker = fit_ridge(members, target_sums, captions, groups)
    blended = blend(members, fit_weights(members, target_sums))
    scale = (np.repeat(blended, captions, axis=0) * np.repeat(target_sums / captions[:, None], captions, axis=0)).sum()
    scale /= captions.sum()
    left = target_sums / captions[:, None] - scale * blended
    inputs = np.concatenate([unit(member) for member in members], axis=1)
    np.testing.assert_allclose(side_by_side(members), inputs, atol=1e-6)
    expected = ridge_by_hand(inputs, left, captions, stacker.penalty)
    np.testing.assert_allclose(stacker.coefficients, expected, atol=1e-4)
    np.testing.assert_allclose(stacker.predict(members), unit(scale * blended + inputs @ expected), atol=1e-4)


def test_a_rows_own_fold_never_influences_its_stack():
    members, target_sums, captions, groups = problem()
    stacked, penalties = cross_fitted_ridge(members, target_sums, captions, groups, 4, seed=0)
    fold, draw = balanced_folds(groups, 4, seed=0), np.random.default_rng(2)
    for f in range(4):
        changed, counts = target_sums.copy(), captions.copy()
        changed[fold == f] = draw.standard_normal(((fold == f).sum(), DIM))
        counts[fold == f] = 9
        again, others = cross_fitted_ridge(members, changed, counts, groups, 4, seed=0)
        np.testing.assert_array_equal(again[fold == f], stacked[fold == f])
        assert others[f] == penalties[f] and not np.array_equal(again[fold != f], stacked[fold != f])


def coded(groups, dim=64):
    """An honest, weak member, and one whose rows are random codes; rows of a group share the code and the target."""
    draw = np.random.default_rng(4)
    targets = unit(draw.standard_normal((ROWS, dim)))[groups]
    codes = unit(draw.standard_normal((ROWS, dim)))[groups]
    weak = unit(targets + 0.25 * draw.standard_normal((ROWS, dim)))
    return [weak, codes], targets, np.ones(ROWS, int), groups


def test_a_member_that_is_a_code_of_the_row_gains_nothing():
    (weak, codes), targets, captions, groups = coded(np.arange(ROWS))
    honest, _ = cross_fitted_ridge([weak, weak[:, ::-1]], targets, captions, groups)
    stacked, _ = cross_fitted_ridge([weak, codes], targets, captions, groups)
    assert score(stacked, targets, captions) < score(honest, targets, captions) + 0.005
    # To a stacker fitted on its row, the code gives the target away: the folds alone keep that out.
    twice = [np.tile(rows, (2, 1)) for rows in (weak, codes, targets)]
    seen, _ = cross_fitted_ridge(twice[:2], twice[2], np.tile(captions, 2), np.arange(2 * ROWS))
    assert score(seen, twice[2], np.tile(captions, 2)) > score(stacked, targets, captions) + 0.03


def test_a_code_of_the_group_gains_nothing_where_groups_stay_whole():
    members, targets, captions, groups = coded(np.arange(ROWS) // 4)
    whole, _ = cross_fitted_ridge(members, targets, captions, groups)
    torn, _ = cross_fitted_ridge(members, targets, captions, np.arange(ROWS))
    blended, _, _ = cross_fitted(members, targets, groups)
    assert score(whole, targets, captions) < score(blended, targets, captions) + 0.005
    assert score(torn, targets, captions) > score(whole, targets, captions) + 0.05


def test_the_seed_decides():
    members, target_sums, captions, groups = problem()
    rows = [cross_fitted_ridge(members, target_sums, captions, groups, 4, seed)[0] for seed in (0, 0, 1)]
    np.testing.assert_array_equal(rows[0], rows[1])
    assert not np.array_equal(rows[0], rows[2])


def test_fewer_groups_than_folds():
    members, target_sums, captions, _ = problem()
    assert fit_ridge(members, target_sums, captions, np.arange(ROWS) % 2, folds=5).penalty > 0
    with pytest.raises(ValueError, match="1 groups"):
        fit_ridge(members, target_sums, captions, np.zeros(ROWS), folds=5)


def test_a_saved_stacker_predicts_the_same(tmp_path):
    members, *fitted = problem()
    for penalty in (None, math.inf):
        stacker = fit_ridge(members, *fitted)
        stacker = stacker if penalty is None else RidgeStacker(stacker.weights, stacker.coefficients, 1.5, penalty)
        stacker.save(tmp_path / "stacker.safetensors")
        again = RidgeStacker.load(tmp_path / "stacker.safetensors")
        np.testing.assert_array_equal(again.predict(members), stacker.predict(members))
        assert (again.penalty, again.scale) == (stacker.penalty, stacker.scale)
    with pytest.raises(FileNotFoundError, match="make the run again with src/blend.py --method ridge"):
        RidgeStacker.load(tmp_path / "none.safetensors")


def test_the_predictor_stacks_what_its_members_predict(tmp_path, monkeypatch):
    monkeypatch.setattr("clipknight.runs.OUTPUTS", tmp_path)
    members, *fitted = problem()
    ids = np.arange(ROWS).astype(str)

    class Member:
        def __init__(self, run, device):
            self.rows = Embeddings(ids, members["ab".index(run.name)].astype(np.float32))

        def predict(self, dataset, **options):
            return self.rows

    monkeypatch.setattr(blending, "Member", Member, raising=False)
    settings = make_dataclass("Settings", [])()
    for name in "ab":
        Run.start(name, settings, "clipknight.blending:Member")
    run = Run.start("both", settings, "clipknight.stacking:StackPredictor", members=["a", "b"], weights=[0.3, 0.7])
    stacker = fit_ridge(members, *fitted)
    stacker.save(run.folder / "best" / "stacker.safetensors")
    predictor = run.load_predictor("cpu")
    assert isinstance(predictor, StackPredictor)
    np.testing.assert_allclose(predictor.predict("images").vectors, stacker.predict(members), atol=1e-5)
