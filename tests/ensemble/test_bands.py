import sys
from dataclasses import make_dataclass

from clipknight.embedding.embeddings import Embeddings, unit
from clipknight.ensemble import predictors
from clipknight.ensemble.bands import (
    BandBlend,
    BandPredictor,
    cross_fitted_bands,
    fit_bands,
    principal_components,
)
from clipknight.ensemble.blending import blend, cross_fitted, fit_weights
from clipknight.ensemble.predictors import load_predictor
from clipknight.training.runs import Run

import numpy as np
import pytest
from safetensors.numpy import save_file

ROWS, DIM = 240, 8


def shared_out(seed=0):
    """One member knows the first half of the components, the other the second."""
    draw = np.random.default_rng(seed)
    components = np.linalg.qr(draw.standard_normal((DIM, DIM)))[0]
    meaning = draw.standard_normal((ROWS, DIM))
    noise = np.repeat([[0.1, 2.0], [2.0, 0.1]], DIM // 2, axis=1)
    members = [(meaning + noise[i] * draw.standard_normal((ROWS, DIM))) @ components.T for i in range(2)]
    captions = draw.integers(1, 5, ROWS)
    return members, unit(meaning @ components.T) * captions[:, None], captions, np.arange(ROWS) // 3, components


def score(rows, target_sums, captions):
    return float((rows * target_sums).sum() / captions.sum())


def test_each_band_is_told_by_the_member_that_knows_it():
    members, target_sums, captions, groups, components = shared_out()
    blended, fold, _ = cross_fitted(members, target_sums, groups, 4)
    rows, fitted = cross_fitted_bands(members, target_sums, components, fold, [4, 99])
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    assert rows.dtype == np.float32 and len(fitted) == 4
    assert score(rows, target_sums, captions) > score(blended, target_sums, captions) + 0.05
    for bands in fitted:
        (first, of_second), (of_first, second) = bands.weights["components 1-4"], bands.weights["components 5-8"]
        assert min(first, second) > 10 * max(of_first, of_second) >= 0


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

    bands = fit_bands(members, target_sums, components, [2])
    weights = np.array(list(bands.weights.values()))
    best = score(bands.predict(members), target_sums, captions)
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


def test_a_rows_own_fold_never_influences_it():
    members, target_sums, _, groups, components = shared_out()
    _, fold, _ = cross_fitted(members, target_sums, groups, 4)
    rows, fitted = cross_fitted_bands(members, target_sums, components, fold, [4])
    draw = np.random.default_rng(2)
    for f in range(4):
        changed = target_sums.copy()
        changed[fold == f] = draw.standard_normal(((fold == f).sum(), DIM))
        again, others = cross_fitted_bands(members, changed, components, fold, [4])
        np.testing.assert_array_equal(again[fold == f], rows[fold == f])
        assert others[f].weights == fitted[f].weights and not np.array_equal(again[fold != f], rows[fold != f])


def test_saved_and_loaded_predicts_the_same(tmp_path):
    members, target_sums, _, _, components = shared_out()
    bands = fit_bands(members, target_sums, components, [4])
    bands.save(tmp_path / "bands.safetensors")
    again = BandBlend.load(tmp_path / "bands.safetensors")
    np.testing.assert_array_equal(again.predict(members), bands.predict(members))
    assert again.weights == bands.weights
    with pytest.raises(FileNotFoundError, match="make the run again by src/blend.py --method bands"):
        BandBlend.load(tmp_path / "none.safetensors")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes((tmp_path / "bands.safetensors").read_bytes()[:500])
    save_file({"coefficients": np.eye(3, dtype=np.float32)[:2]}, tmp_path / "odd.safetensors", {"found": "{}"})
    for name in ("cut", "odd"):
        with pytest.raises(ValueError, match=f"{name}.safetensors .*: make the run again by src/blend.py"):
            BandBlend.load(tmp_path / f"{name}.safetensors")


def test_the_predictor_blends_by_bands_what_its_members_predict(tmp_path, monkeypatch):
    monkeypatch.setenv("CLIPKNIGHT_OUTPUTS", str(tmp_path))
    members, target_sums, _, _, components = shared_out()
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
    bands = fit_bands(members, target_sums, components, [4])
    bands.save(run.folder / BandBlend.file)
    predictor = load_predictor(run, "cpu")
    assert isinstance(predictor, BandPredictor)
    np.testing.assert_allclose(predictor.predict("images").vectors, bands.predict(members), atol=1e-5)
    fit_bands([*members, members[0]], target_sums, components, [4]).save(run.folder / BandBlend.file)
    with pytest.raises(ValueError, match="stacker.safetensors blends 3 members, the run has 2: make the run again"):
        load_predictor(run, "cpu")


def test_a_run_by_the_trees_of_version_0_3_0_is_refused(tmp_path):
    file = tmp_path / "stacker.safetensors"
    save_file({"coefficients": np.eye(2, dtype=np.float32)}, file, {"found": '{"trees": 10}', "trees": "[]"})
    with pytest.raises(ValueError, match="blends by trees, which ended with 0.3.0: make the run again by src/blend.py"):
        BandBlend.load(file)
