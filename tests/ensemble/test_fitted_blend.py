from types import SimpleNamespace

from clipknight.embedding.embeddings import Embeddings, unit
from clipknight.ensemble.fitted_blend import fit_blend, lead

import numpy as np
import pandas as pd
import pytest


def valid(targets):
    """As many images as targets, each with one caption."""
    ids = [f"i{i}" for i in range(len(targets))]
    dataset = SimpleNamespace(ids=np.array(ids, dtype=object), captions=pd.DataFrame({"id": ids}))
    targets = unit(np.array(targets, np.float32))
    part = SimpleNamespace(targets=Embeddings(ids, targets), target_sums=lambda: targets)
    part.dataset = type("Images", (SimpleNamespace,), {"__len__": lambda self: len(ids)})(**vars(dataset))
    return part


def members(count):
    draw = np.random.default_rng(0)
    return [draw.standard_normal((count, 3)).astype(np.float32) for _ in range(2)]


@pytest.mark.parametrize("targets, folds", [([[1, 0, 0]] * 3, 3), ([[1, 0, 0], [1, 0, 0], [0, 1, 0]], 2)])
def test_few_groups_are_as_many_folds_and_one_group_is_parted(targets, folds, capsys):
    fitted = fit_blend(members(3), valid(targets), folds=5, similarity=0.7, seed=0)
    assert len(np.unique(fitted.fold)) == folds == len(fitted.fold_weights)
    assert ("of all 3 valid images are alike" in capsys.readouterr().out) == (folds == 3)


def test_one_image_is_too_few():
    with pytest.raises(ValueError, match="one valid image is too few to fit weights on: .*--weights 0.5 0.5"):
        fit_blend(members(1), valid([[1, 0, 0]]), folds=5, similarity=0.7, seed=0)


def test_a_lead_and_its_error_are_those_of_the_images_drawn_again():
    draw = np.random.default_rng(0)
    differences, captions = draw.normal(0.01, 0.1, 400), draw.integers(1, 6, 400)
    mean, error = lead(np.append(differences, np.nan), np.append(captions, 1))
    assert mean == pytest.approx(np.average(differences, weights=captions))
    again = draw.integers(400, size=(4000, 400))
    means = np.average(differences[again], weights=captions[again], axis=1)
    assert error == pytest.approx(means.std(), rel=0.1)
    assert lead(np.array([0.5]), np.array([3])) == (0.5, np.inf)
