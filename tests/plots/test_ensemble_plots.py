from dataclasses import make_dataclass

from clipknight.data.images import read_image
from clipknight.embedding.clip import load_clip
from clipknight.plots.ensemble_plots import (
    augmentation_plot,
    disagreement_plot,
    errors_plot,
    folds_plot,
    ladder_plot,
    picture_grid,
    reliability_plot,
    weights_plot,
)
from clipknight.plots.error_analysis import binned
from clipknight.training.runs import Run

import numpy as np
import pandas as pd
import pytest


@pytest.fixture
def scores():
    draw = np.random.default_rng(0)
    return pd.DataFrame({"A": draw.uniform(size=40), "B": draw.uniform(size=40)})


@pytest.fixture
def certainty(scores):
    """A sign that orders images as the scores of A do."""
    return scores["A"].to_numpy() ** 2


def assert_shows(axes, by, scores):
    """A line of bins for each column."""
    table = binned(by, scores)
    drawn = [container.lines[0].get_xydata() for container in axes.containers]
    assert len(drawn) == len(scores.columns)
    for points, name in zip(drawn, scores):
        np.testing.assert_allclose(points, np.column_stack([table["at", "mean"], table[name, "mean"]]))


def test_disagreement_shows_images_and_bins(scores, certainty):
    (axes,) = disagreement_plot(certainty, scores).axes
    assert_shows(axes, certainty, scores)
    np.testing.assert_allclose(axes.collections[0].get_offsets()[:, 1], scores["A"])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["A", "B"]


def test_a_panel_for_each_thing_that_goes_with_errors(scores, certainty):
    words = np.arange(40) % 7
    first, second = errors_plot({"words": words, "certainty": certainty}, scores).axes
    assert_shows(first, words, scores)
    assert_shows(second, certainty, scores)
    assert (first.get_xlabel(), second.get_xlabel()) == ("words", "certainty")
    assert len(errors_plot({"words": words}, scores).axes) == 1


def test_reliability_tells_rank_correlation_and_error(scores, certainty):
    truth = scores["A"].to_numpy()
    expected = truth + 0.25
    signs = {"sure": certainty, "unsure": -certainty}
    sure, unsure, last = reliability_plot(signs, truth, expected).axes
    assert_shows(sure, certainty, scores[["A"]])
    assert_shows(last, expected, scores[["A"]])
    assert sure.get_title() == "ρ = 1.00" and unsure.get_title() == "ρ = -1.00"
    assert last.get_title() == "ρ = 1.00, off by 0.250"


def test_the_weights_of_all_and_of_each_fold(outputs):
    info = {"members": ["a", "b"], "weights": [0.7, 0.3], "weights_from": "fitted on valid"}
    run = Run.start("plots/blend", make_dataclass("Settings", [])(), overwrite=True, **info)
    run.log(fold=0, weights=[0.6, 0.4])
    run.log(fold=1, weights=[0.8, 0.2])
    run.log(avg_cos=0.5)
    (axes,) = weights_plot(run).axes
    assert [bar.get_width() for bar in axes.patches] == [0.7, 0.3]
    assert [line.get_xdata().tolist() for line in axes.lines] == [[0.6, 0.4], [0.8, 0.2]]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]
    assert axes.get_yticks()[0] > axes.get_yticks()[1]  # the first on top


def test_the_ladder_from_top_to_bottom():
    ladder = [
        {"label": "one", "avg_cos": 0.5, "gain": None},
        {"label": "two", "avg_cos": 0.54, "gain": 0.04},
        {"label": "three", "avg_cos": 0.53, "gain": -0.01},
    ]
    (axes,) = ladder_plot(ladder).axes
    assert [text.get_text() for text in axes.texts] == ["0.5000", "0.5400  (+0.0400)", "0.5300  (-0.0100)"]
    assert axes.lines[0].get_xydata().tolist() == [[0.5, 2], [0.54, 1], [0.53, 0]]
    ladder_plot(ladder[:1])


def test_folds_that_could_be_made():
    both = {"knn": 0.5, "ridge": 0.4}
    scored = {"grouped": {"knn": 0.3, "ridge": 0.35}, "random": both, "largest_groups": [30, 2]}
    study = {"images": 40, "random": both, "valid": {"knn": 0.52, "ridge": 0.41}}
    study["thresholds"] = [{"threshold": 0.2, "largest_groups": [40]}, {"threshold": 0.8, **scored}]
    knn, ridge = folds_plot(study).axes
    assert [bar.get_height() for bar in knn.patches] == [0.5, 0.3]
    assert [bar.get_height() for bar in ridge.patches] == [0.4, 0.35]
    assert [label.get_text() for label in knn.get_xticklabels()] == ["0.8\n75%"]
    assert knn.lines[0].get_ydata()[0] == 0.52 and knn.get_title() == "knn"


def test_pictures_under_their_texts(coloured):
    paths = sorted(map(str, (coloured / "Images").glob("train0*.png")))[:5]
    long = "word " * 20
    figure = picture_grid([*paths[:4], np.zeros((4, 4, 3))], ["one", "two\nthree", long, "", "last"], columns=3)
    shown = [axes for axes in figure.axes if axes.images]
    assert len(figure.axes) == 6 and len(shown) == 5
    np.testing.assert_array_equal(shown[1].images[0].get_array(), np.asarray(read_image(paths[1])))
    titles = [axes.get_title(loc="left") for axes in shown]
    assert titles[:2] == ["one", "two\nthree"] and titles[2].split() == long.split() and "\n" in titles[2]


def test_what_training_sees_of_an_image(coloured, tiny_clip):
    path = str(coloured / "Images" / "train00.png")  # red
    encoder = load_clip(str(tiny_clip), "cpu", "fp32")
    figure = augmentation_plot(path, encoder, epochs=3, rotation=10, flip=True, crop=0.5)
    original, *seen = [axes.images[0].get_array() for axes in figure.axes]
    assert original.shape == (40, 40, 3) and [picture.shape for picture in seen] == [(32, 32, 3)] * 3
    assert not np.allclose(seen[0], seen[1])
    for picture in seen:  # the encoder's mean and deviation are taken out again
        np.testing.assert_allclose(picture.mean(axis=(0, 1)) * 255, original.mean(axis=(0, 1)), atol=3)
