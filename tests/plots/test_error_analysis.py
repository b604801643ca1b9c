from clipknight.embedding.captioned_dataset import CaptionedDataset
from clipknight.embedding.embeddings import Embeddings, unit
from clipknight.plots.error_analysis import (
    agreement,
    binned,
    calibration_error,
    expected_scores,
    image_scores,
    nearest,
    pair_scores,
)

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression


@pytest.fixture(scope="module")
def valid(coloured, tiny_target_encoder):
    return CaptionedDataset.read(coloured, str(tiny_target_encoder), "cpu").split("valid")


@pytest.fixture
def draw():
    return np.random.default_rng(0)


def test_scores_of_pairs_and_of_images(valid, draw):
    ids = valid.dataset.ids
    said = {name: Embeddings(ids, draw.standard_normal((8, 24))) for name in ("one", "two")}
    said["two"] = said["two"].aligned_to(ids[::-1])  # rows are found by id
    pairs, images = pair_scores(said, valid), image_scores(said, valid)
    assert pairs.index.tolist() == valid.dataset.captions["id"].tolist() and images.index.tolist() == ids.tolist()
    for name, rows in said.items():
        assert pairs[name].mean() == pytest.approx(valid.avg_cos(rows))
        row = unit(rows.aligned_to(ids[3:4]).vectors[0])
        cosines = valid.targets.vectors[15:20] @ row  # five captions an image
        np.testing.assert_allclose(pairs[name].iloc[15:20], cosines, atol=1e-6)
        assert images[name].iloc[3] == pytest.approx(cosines.mean(), abs=1e-6)


def test_agreement_is_the_mean_cosine_of_all_pairs_of_members(draw):
    members = [draw.standard_normal((20, 6)) * scale for scale in (1, 3, 0.2)]
    a, b, c = map(unit, members)
    expected = ((a * b).sum(axis=1) + (a * c).sum(axis=1) + (b * c).sum(axis=1)) / 3
    np.testing.assert_allclose(agreement(members), expected)
    np.testing.assert_allclose(agreement(members[:2]), (a * b).sum(axis=1))
    with pytest.raises(ValueError, match="two members or more, not 1"):
        agreement(members[:1])


def test_the_nearest_key_by_cosine(draw):
    queries, keys = draw.standard_normal((7, 5)), draw.standard_normal((30, 5)) * draw.uniform(0.1, 9, (30, 1))
    cosines = unit(queries) @ unit(keys).T
    found, rows = nearest(queries, keys)
    assert rows.tolist() == cosines.argmax(axis=1).tolist()
    np.testing.assert_allclose(found, cosines.max(axis=1), atol=1e-6)


def test_bins_of_equal_size():
    scores = pd.DataFrame({"up": np.arange(12.0), "down": -np.arange(12.0)}, index=list("abcdefghijkl"))
    table = binned(np.arange(12) * 10, scores, bins=3)
    assert table["at", "count"].tolist() == [4, 4, 4] and table["at", "mean"].tolist() == [15, 55, 95]
    assert table["up", "mean"].tolist() == [1.5, 5.5, 9.5] and table["down", "mean"].tolist() == [-1.5, -5.5, -9.5]
    np.testing.assert_allclose(table["up", "sem"], np.std([0, 1, 2, 3], ddof=1) / 2)


def test_repeated_values_share_a_bin():
    lengths = np.array([5] * 6 + [7, 9])
    table = binned(lengths, pd.Series(np.arange(8.0)), bins=4)
    assert table["at", "count"].sum() == 8 and table["at", "mean"].iloc[0] == 5 and table["at", "count"].iloc[0] == 6
    same = binned(np.ones(4), pd.Series([1.0, 2, 3, 6]))
    assert same["at", "count"].tolist() == [4] and same["score", "mean"].tolist() == [3]


def test_expected_scores_have_not_seen_the_image_nor_its_group(draw):
    signs, groups = draw.standard_normal((40, 2)), np.repeat(np.arange(20), 2)
    scores = signs @ [0.3, -0.1] + 0.5 + 0.05 * draw.standard_normal(40)
    expected = expected_scores(signs, scores, groups, folds=4)
    # One image's score decides nothing of what is expected of its group, and something of what is of the others.
    scores[0] += 10
    changed = expected_scores(signs, scores, groups, folds=4) != expected
    assert not changed[:2].any() and changed.sum() == 30
    everything = LinearRegression().fit(signs[2:], scores[2:]).predict(signs)
    np.testing.assert_allclose(expected[2:], everything[2:], atol=0.1)


def test_fewer_groups_than_folds():
    signs, scores = np.arange(6.0)[:, None], np.arange(6.0)
    np.testing.assert_allclose(expected_scores(signs, scores, np.repeat([0, 1, 2], 2), folds=5), scores, atol=1e-9)


def test_how_far_off_an_expectation_is():
    scores = np.array([0.1, 0.3, 0.7, 0.9])
    assert calibration_error(np.array([0.2, 0.2, 0.8, 0.8]), scores, bins=2) == pytest.approx(0)
    assert calibration_error(np.array([0.25, 0.25, 0.7, 0.7]), scores, bins=2) == pytest.approx((0.05 + 0.1) / 2)
    bins_of_two_and_one = calibration_error(np.array([0.1, 0.2, 0.3]), np.array([0.1, 0.2, 0.6]), bins=2)
    assert bins_of_two_and_one == pytest.approx(0.3 / 3)
