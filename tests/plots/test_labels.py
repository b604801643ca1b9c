import doctest
import io

from clipknight.plots import labels
from clipknight.plots.labels import label

import pytest
from matplotlib.figure import Figure

NAMES = [("_hid", " _hid"), ("$\\nosuch{x$", "$\\nosuch{x$"), ("a\nb", "a\\nb"), ("a", "a")]


@pytest.mark.parametrize("name, shown", NAMES)
def test_any_name_has_its_place_in_the_legend_as_it_is(name, shown):
    figure = Figure()
    axes = figure.subplots()
    axes.plot([0, 1], label=label(name))
    (text,) = axes.legend().get_texts()
    figure.savefig(io.BytesIO())
    assert text._preprocess_math(text.get_text()) == (shown, False)


def test_the_docstrings_example_runs():
    result = doctest.testmod(labels)
    assert result.attempted > 0 and result.failed == 0
