import io

from clipknight.data.images import read_image
from clipknight.embedding.clip import load_clip
from clipknight.embedding.embeddings import unit
from clipknight.embedding.subregions import subregion_features
from clipknight.plots.subregion_plots import gap_figure, gap_statistics, overlay

import numpy as np
import pytest
from matplotlib.patches import Rectangle


@pytest.fixture(scope="module")
def encoder(tiny_clip):
    return load_clip(f"{tiny_clip}@64", "cpu", "fp32")


@pytest.fixture(scope="module")
def photo(coloured):
    return str(next((coloured / "Images").glob("dev03*")))


def pairs(mean=0.0, deviation=0.05, count=4000, dim=16, draw_as="standard_normal", seed=0):
    """Unit captions, and images that differ from them by `mean` and noise; large enough lengths keep the noise."""
    draw = np.random.default_rng(seed)
    captions = unit(draw.standard_normal((count, dim)))
    noise = getattr(draw, draw_as)(size=(count, dim))
    return captions + mean + deviation * noise, captions


def rectangles(axes):
    return [patch for patch in axes.patches if isinstance(patch, Rectangle)]


# Overlay


def test_the_outlined_cells_are_the_regions(encoder, photo):
    figure = overlay(photo, encoder, 5)
    found = subregion_features(encoder, encoder.preprocess(read_image(photo))[None], 5)
    for axes in figure.axes[:2]:
        corners = [(round(r.get_y() / 16), round(r.get_x() / 16)) for r in rectangles(axes)]  # 64 pixels, 4 x 4 cells
        assert [4 * row + column for row, column in corners] == found.cells[0].tolist()
        assert {(r.get_width(), r.get_height()) for r in rectangles(axes)} == {(16.0, 16.0)}
        assert [text.get_text() for text in axes.texts] == ["1", "2", "3", "4", "5"]


def test_the_heat_is_the_attention_over_the_photograph_as_seen(encoder, photo):
    heat = overlay(photo, encoder, 5).axes[1]
    shown, shade = (image.get_array() for image in heat.get_images())
    found = subregion_features(encoder, encoder.preprocess(read_image(photo))[None], 5)
    np.testing.assert_allclose(shade, found.attention[0], atol=1e-6)
    assert heat.get_images()[1].get_extent() == [0, 64, 64, 0]
    expected = np.asarray(read_image(photo)).mean(axis=(0, 1)) / 255
    np.testing.assert_allclose(np.asarray(shown).mean(axis=(0, 1)), expected, atol=0.02)


def test_a_caption_marks_the_region_nearest_to_it(encoder, photo):
    figure = overlay(photo, encoder, 5, caption="a red picture")
    found = subregion_features(encoder, encoder.preprocess(read_image(photo))[None], 5)
    vector = encoder.encode_captions(["a red picture"])[0]
    cosines = found.regions[0] @ vector
    nearest = int(np.argmax(cosines))
    filled = [i for i, patch in enumerate(rectangles(figure.axes[0])) if patch.get_facecolor()[3] > 0]
    assert filled == [nearest]
    title = f"whole {found.whole[0] @ vector:.2f}, region {nearest + 1} {cosines.max():.2f}"
    assert figure.get_suptitle() == f"a red picture\ncosine: {title}"
    assert not any(p.get_facecolor()[3] for p in rectangles(overlay(photo, encoder, 5).axes[0]))


# Gap


def test_a_gap_of_known_mean_and_variance():
    captions = np.eye(32)[np.arange(2000) % 32] * 10  # unit() takes the length away
    draw = np.random.default_rng(0)
    images = draw.standard_normal((2000, 32))
    gap = unit(images) - np.eye(32)[np.arange(2000) % 32]
    numbers = gap_statistics(images, captions)
    assert (numbers["pairs"], numbers["dimensions"]) == (2000, 32)
    assert numbers["mean_norm"] == pytest.approx(np.linalg.norm(gap.mean(axis=0)))
    assert numbers["trace"] == pytest.approx(gap.var(axis=0, ddof=1).sum())
    assert numbers["variance"] == pytest.approx(numbers["trace"] / 32)
    assert numbers["mean_norm_by_chance"] == pytest.approx((numbers["trace"] / 2000) ** 0.5)
    squared = (gap**2).sum(axis=1).mean()
    assert numbers["mean_share"] == pytest.approx(np.linalg.norm(gap.mean(axis=0)) ** 2 / squared, rel=1e-3)


def test_a_constant_offset_is_the_means_share():
    without, offset = (gap_statistics(*pairs(mean)) for mean in (0.0, 0.5))
    assert without["mean_norm"] < 3 * without["mean_norm_by_chance"] and without["mean_share"] < 0.01
    assert offset["mean_norm"] > 30 * offset["mean_norm_by_chance"] and offset["mean_share"] > 0.3


def test_equal_variances_fill_the_dimensions_and_a_line_does_not():
    images, captions = pairs()
    even = gap_statistics(images, captions)
    assert even["effective_dimensions"] == pytest.approx(15, abs=1.5)  # unit rows lose one
    captions = np.tile(unit(np.ones(16)), (4000, 1))
    line = captions + 0.1 * np.random.default_rng(0).standard_normal((4000, 1)) * np.array([1, -1] + [0] * 14)
    numbers = gap_statistics(line, captions)
    assert numbers["effective_dimensions"] == pytest.approx(1, abs=0.1)
    assert numbers["first_component_share"] > 0.95 > 0.2 > even["first_component_share"]


def test_normality_tells_normal_from_heavy_tails():
    captions = np.tile(unit(np.ones(64)), (1000, 1))
    draw = np.random.default_rng(0)
    normal = gap_statistics(captions + 0.001 * draw.standard_normal((1000, 64)), captions)
    heavy = gap_statistics(captions + 0.001 * draw.laplace(size=(1000, 64)), captions)
    assert normal["normality_rejected"] < 0.2 and normal["excess_kurtosis"] < 0.3
    assert heavy["normality_rejected"] > 0.95 and heavy["excess_kurtosis"] > 1
    skewed = gap_statistics(captions + 0.001 * draw.exponential(size=(1000, 64)), captions)
    assert skewed["skew"] > 1 > 0.3 > normal["skew"]


def test_a_dimension_that_never_varies_is_left_out_of_normality():
    images, captions = pairs(count=200)
    images[:, 3] = captions[:, 3] = 0
    numbers = gap_statistics(images, captions)
    assert all(np.isfinite(value) for value in numbers.values()) and numbers["dimensions"] == 16
    gap_figure(images, captions).savefig(io.BytesIO())


def test_the_figure_shows_the_same_numbers():
    images, captions = pairs(0.2, count=500)
    means, matrix, quantiles = gap_figure(images, captions).axes[:3]
    gap = unit(images) - unit(captions)
    np.testing.assert_allclose(means.lines[0].get_ydata(), gap.mean(axis=0))
    np.testing.assert_allclose(matrix.get_images()[0].get_array(), np.cov(gap, rowvar=False))
    numbers = gap_statistics(images, captions)
    assert means.get_title() == f"mean, length {numbers['mean_norm']:.3f}"
    assert f"mean variance {numbers['variance']:.5f}" in matrix.get_title()
    expected, drawn = quantiles.lines[1].get_data()
    assert np.all(np.diff(drawn) >= 0) and len(expected) == 1000
    assert np.interp(0, expected, drawn) == pytest.approx(0, abs=0.1)
    assert np.interp(1, expected, drawn) == pytest.approx(1, abs=0.15)


def test_rows_that_are_no_pairs_are_refused():
    images, captions = pairs(count=30)
    with pytest.raises(ValueError, match=r"pairs are rows: images \(30, 16\), captions \(29, 16\)"):
        gap_statistics(images, captions[:-1])
    for function in (gap_statistics, gap_figure):
        with pytest.raises(ValueError, match="19 pairs tell nothing of a distribution: give 20 or more"):
            function(images[:19], captions[:19])
