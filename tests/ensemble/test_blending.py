import sys

from clipknight.embedding.embeddings import Embeddings, unit
from clipknight.embedding.metrics import avg_cos
from clipknight.ensemble import predictors
from clipknight.ensemble.blending import (
    BlendPredictor,
    balanced_folds,
    blend,
    cross_fitted,
    fit_weights,
)
from clipknight.ensemble.predictors import load_predictor

import numpy as np
import pytest


def sums(targets, image_of, images):
    total = np.zeros((images, targets.shape[1]))
    np.add.at(total, image_of, targets)
    return total


@pytest.fixture
def problem():
    """Three noisy members of unequal length, 240 images with one to four captions; `score(weights)` by definition."""
    rng = np.random.default_rng(0)
    image_of = np.repeat(np.arange(240), rng.integers(1, 5, size=240))
    meaning = rng.standard_normal((240, 16))
    targets = unit(meaning[image_of] + 0.3 * rng.standard_normal((len(image_of), 16)))
    members = [
        length * (meaning + noise * rng.standard_normal((240, 16))) for noise, length in ((0.8, 1), (1.0, 50), (2.5, 3))
    ]

    def score(weights):
        ids = np.arange(240).astype(str).astype(object)
        return avg_cos(
            Embeddings(ids, blend(members, weights)), Embeddings(np.arange(len(targets)), targets), ids[image_of]
        )

    return members, sums(targets, image_of, 240), score


def test_blend_is_the_mean_of_unit_rows():
    a, b = np.array([[2.0, 0.0]]), np.array([[0.0, 7.0]])
    np.testing.assert_allclose(blend([a, b], [0.5, 0.5]), [[0.5**0.5, 0.5**0.5]], rtol=1e-6)
    np.testing.assert_allclose(blend([a, b], [0.8, 0.2]), unit(np.array([[0.8, 0.2]])), rtol=1e-6)
    assert blend([a, b], [1, 0]).dtype == np.float32


def test_a_row_that_its_member_is_unsure_of_counts_the_less():
    sure, unsure = np.array([[1.0, 0.0]]), np.array([[0.0, 0.25]])
    np.testing.assert_allclose(blend([sure, unsure], [0.2, 0.8]), [[0.5**0.5, 0.5**0.5]], rtol=1e-6)


def test_fitted_weights_are_the_known_optimum():
    """Members are the axes: the blend's direction is the weights', best along the targets' mean direction."""
    a, b, c = (np.tile(axis, (20, 1)) for axis in np.eye(3))
    weights = fit_weights([a, 7 * b, c], np.tile([0.6, 0.8, 0.0], (20, 1)))
    np.testing.assert_allclose(weights, [3 / 7, 4 / 7, 0], atol=1e-5)
    behind = fit_weights([a, b, c], np.tile([0.6, 0.8, -1.0], (20, 1)))
    np.testing.assert_allclose(behind, [3 / 7, 4 / 7, 0], atol=1e-5)


def test_no_weights_near_by_score_higher_over_all_pairs(problem):
    members, target_sums, score = problem
    weights = fit_weights(members, target_sums)
    assert weights.sum() == pytest.approx(1) and (weights >= 0).all()
    best = score(weights)
    for i, j in [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)]:
        moved = weights.copy()
        moved[i], moved[j] = moved[i] + min(0.02, moved[j]), moved[j] - min(0.02, moved[j])
        assert score(moved) <= best + 1e-7
    assert best > max(score(corner) for corner in np.eye(3)) + 0.01
    np.testing.assert_array_equal(weights, fit_weights(members, target_sums))


def test_images_count_by_their_captions():
    """Nine captions along a against one along b: the best direction is near a, not between."""
    a, b = np.tile([1.0, 0.0], (2, 1)), np.tile([0.0, 1.0], (2, 1))
    weights = fit_weights([a, b], np.array([[9.0, 0.0], [0.0, 1.0]]))
    np.testing.assert_allclose(weights, [0.9, 0.1], atol=1e-5)


def test_a_blend_is_never_worse_than_its_best_member_on_the_fitted_rows():
    rng = np.random.default_rng(1)
    targets = rng.standard_normal((50, 8))
    good, bad = targets.copy(), -targets + 0.1 * rng.standard_normal((50, 8))
    np.testing.assert_allclose(fit_weights([bad, good], targets), [0, 1], atol=1e-6)


def test_a_rows_own_fold_never_influences_its_blend(problem):
    members, target_sums, _ = problem
    groups = np.arange(240) // 3
    blended, fold, weights = cross_fitted(members, target_sums, groups, folds=4, seed=0)
    rng = np.random.default_rng(2)
    for f in range(4):
        changed = target_sums.copy()
        changed[fold == f] = rng.standard_normal(((fold == f).sum(), 16))
        again, _, other = cross_fitted(members, changed, groups, folds=4, seed=0)
        np.testing.assert_array_equal(again[fold == f], blended[fold == f])
        assert not np.array_equal(again[fold != f], blended[fold != f])
        np.testing.assert_array_equal(blended[fold == f], blend([member[fold == f] for member in members], weights[f]))


def test_folds_keep_groups_whole_and_balanced():
    groups = np.concatenate([np.repeat(np.arange(10), 12), np.arange(100, 180)])
    fold = balanced_folds(groups, 5, seed=0)
    assert all(len(set(fold[groups == group])) == 1 for group in np.unique(groups))
    np.testing.assert_array_equal(np.bincount(fold), [40] * 5)
    np.testing.assert_array_equal(fold, balanced_folds(groups, 5, seed=0))
    assert not np.array_equal(fold, balanced_folds(groups, 5, seed=1))


@pytest.mark.parametrize("folds", [1, 4])
def test_folds_that_the_groups_cannot_fill(folds):
    with pytest.raises(ValueError, match=f"{folds} folds out of 3 groups"):
        balanced_folds(np.array([0, 0, 1, 2]), folds)


def rows(ids, dim=3):
    return Embeddings(np.array(list(ids), dtype=object), np.random.default_rng(0).random((len(ids), dim), np.float32))


def test_nan_and_unequal_shapes_are_refused():
    good = np.ones((4, 3))
    with pytest.raises(ValueError, match="NaN"):
        fit_weights([good, np.full((4, 3), np.nan)], good)
    with pytest.raises(ValueError, match="same rows"):
        fit_weights([good, good[:3]], good)


# Runs


def test_the_predictor_blends_what_its_members_predict(started, monkeypatch):
    one, two = rows("ab"), rows("ba")
    seen = []

    class Member:
        def __init__(self, run, device):
            self.rows = {"a": one, "b": two}[run.name]

        def predict(self, dataset, **options):
            seen.append((dataset, options))
            return self.rows

    monkeypatch.setattr(predictors, "PREDICTORS", predictors.PREDICTORS | {"member": f"{__name__}:Member"})
    monkeypatch.setattr(sys.modules[__name__], "Member", Member, raising=False)
    for name in "ab":
        run = started(name)
        run._write_info({**run.info, "kind": "member"})
    run = started("both", members=["a", "b"], weights=[0.3, 0.7])
    predictor = load_predictor(run, "cpu")
    assert isinstance(predictor, BlendPredictor)
    predictions = predictor.predict("images", batch_size=7, workers=0, skip_unreadable=True)
    assert predictions.ids.tolist() == ["a", "b"] and predictions.meta == {"run": "both"}
    np.testing.assert_allclose(predictions.vectors, blend([one.vectors, two.vectors[::-1]], [0.3, 0.7]))
    assert seen == [("images", {"batch_size": 7, "workers": 0, "skip_unreadable": True})] * 2


@pytest.mark.parametrize(
    "info, wrong",
    [
        ({"members": ["a"], "weights": [0.3, 0.7]}, "has 1 members and the weights 0.3, 0.7, not one number a member"),
        ({"members": ["a", "b"], "weights": [0.3, "much"]}, "the weights 0.3, much, not one number a member"),
        ({"members": ["a", "b"], "weights": [0.3, float("nan")]}, "not one number a member"),
        ({"members": [], "weights": []}, "has 0 members"),
        ({"members": "ab", "weights": [0.3, 0.7]}, "has members: 'ab', not a list"),
        ({"weights": [0.3, 0.7]}, "says nothing of 'members'"),
        ({"members": ["a", "b"]}, "says nothing of 'weights'"),
    ],
)
def test_a_run_that_says_its_members_and_weights_otherwise(started, info, wrong):
    run = started("both", **info)
    with pytest.raises(ValueError, match=f"both/run.json.* {wrong}.*again"):
        load_predictor(run, "cpu")
