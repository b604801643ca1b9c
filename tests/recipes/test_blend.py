from dataclasses import make_dataclass
from pathlib import Path

from blend import main
from clipknight.embedding.captioned_dataset import CaptionedDataset
from clipknight.embedding.embeddings import Embeddings
from clipknight.embedding.splits import similarity_groups
from clipknight.ensemble.bands import BandBlend, BandPredictor
from clipknight.ensemble.blending import BlendPredictor, blend, cross_fitted
from clipknight.ensemble.gate import Gate
from clipknight.ensemble.predictors import load_predictor
from clipknight.training.runs import Run

import numpy as np
import pandas as pd
import pytest


@pytest.fixture(scope="module")
def data(coloured, tiny_target_encoder):
    return CaptionedDataset.read(coloured, str(tiny_target_encoder), "cpu")


@pytest.fixture(scope="module")
def argv(coloured, tiny_target_encoder, data):
    """Flags of a blend of two runs that hold noisy targets."""
    draw = np.random.default_rng(0)
    for name, noise in (("one", 0.1), ("two", 0.15)):
        run = Run.start(f"blend/{name}", make_dataclass("Settings", [])(), "blend")
        for split in ("valid", "test"):
            part = data.split(split)
            rows = part.mean_targets() + noise * draw.standard_normal((len(part.dataset), 24))
            run.save_predictions(split, Embeddings(part.dataset.ids, rows.astype(np.float32)))

    def words(run, *more):
        named = {"data": coloured, "target_encoder": tiny_target_encoder, "device": "cpu", "run": f"blend/{run}"}
        options = {"folds": 3, "similarity": 0.999}
        flags = [f"--{name}={value}" for name, value in {**named, **options}.items()]
        return [*flags, "--members", "blend/one", "blend/two", *more]

    return words


def vectors(split):
    return [Run.open(f"blend/{name}").predictions(split).vectors for name in ("one", "two")]


def by_weights(data):
    """The cross-fitted blend of the valid rows, by its parts."""
    valid = data.split("valid")
    groups = similarity_groups(valid.targets, valid.dataset.captions["id"].to_numpy(), 0.999)[valid.dataset.ids]
    return cross_fitted(vectors("valid"), 5 * valid.mean_targets(), groups.to_numpy(), 3)[0]


def test_weights_are_the_default_and_nothing_is_stacked(argv, data):
    score = main(argv("plain"))
    run = Run.open("blend/plain")
    np.testing.assert_allclose(run.predictions("valid").vectors, by_weights(data), atol=1e-6)
    assert score == pytest.approx(data.split("valid").avg_cos(run.predictions("valid")))
    np.testing.assert_allclose(run.predictions("test").vectors, blend(vectors("test"), run.info["weights"]), atol=1e-6)
    assert not (run.folder / "best").exists() and run.info["kind"] == "blend"
    table = pd.read_csv(run.folder / "scores.csv", index_col="member")["avg_cos"]
    assert list(table.index[-2:]) == ["equal weights", "ensemble (cross-fitted, 3 folds)"]
    assert table["another person's caption"] == pytest.approx(data.split("valid").agreement())
    leads = pd.read_csv(run.folder / "scores.csv", index_col="member")[["lead", "error"]]
    np.testing.assert_allclose(leads["lead"][:-1], score - table[:-1], atol=1e-6)
    assert (leads["error"][:-1] >= 0).all() and leads.iloc[-1].isna().all()


def test_bands_beside_the_weights(argv, data, capsys):
    score = main(argv("bands", "--method=bands"))
    printed, run, valid = capsys.readouterr().out, Run.open("blend/bands"), data.split("valid")
    table = pd.read_csv(run.folder / "scores.csv", index_col="member")["avg_cos"]
    blended = Embeddings(valid.dataset.ids, by_weights(data))
    assert table["ensemble (cross-fitted, 3 folds)"] == pytest.approx(valid.avg_cos(blended))
    assert table["bands (cross-fitted, 3 folds)"] == score == run.info["summary"]["avg_cos"]
    assert score == pytest.approx(valid.avg_cos(run.predictions("valid")))
    bands = BandBlend.load(run.folder / BandBlend.file)
    np.testing.assert_array_equal(run.predictions("test").vectors, bands.predict(vectors("test")))
    assert "  bands: " in printed and all(f"{name} {weights}" in printed for name, weights in bands.weights.items())
    assert all(event["bands"].keys() == bands.weights.keys() for event in run.events() if "fold" in event)


def test_a_gate_beside_the_weights(argv, data, capsys):
    score = main(argv("gate", "--method=gate"))
    printed, run, valid = capsys.readouterr().out, Run.open("blend/gate"), data.split("valid")
    rows = run.predictions("valid")
    assert run.kind == "gate" and score == pytest.approx(valid.avg_cos(rows))
    gate = Gate.load(run.folder / Gate.file)
    np.testing.assert_allclose(run.predictions("test").vectors, gate.predict(vectors("test")), atol=1e-5)
    assert rows.meta["unfamiliar"] == pytest.approx(gate.unfamiliar) and "  gate: mean shares [" in printed


def test_images_of_another_dataset_join_valid(argv, data, coloured, tmp_path, monkeypatch, capsys):
    """The members predict them; each dataset's score is printed and kept."""
    (tmp_path / "others").mkdir()
    some = data.dataset.split("train").first(12)
    captions = some.captions.assign(image=some.captions["id"].map(lambda name: f"other-{name}.png"))
    for name, path in zip(some.images["id"], some.images["path"]):
        (tmp_path / "others" / f"other-{name}.png").write_bytes(Path(path).read_bytes())
    captions[["image", "caption"]].to_csv(tmp_path / "others" / "captions.csv", index=False)
    draw, asked = np.random.default_rng(1), []

    def opened(self, run, device):
        asked.append(run.name)

    def predicted(self, dataset, **options):
        return Embeddings(dataset.ids, draw.standard_normal((len(dataset), 24)).astype(np.float32))

    monkeypatch.setattr(BlendPredictor, "__init__", opened)  # the members are mere rows here
    monkeypatch.setattr(BlendPredictor, "predict", predicted)
    main(argv("two-kinds", "--method=gate", f"--also={tmp_path / 'others'}", "--workers=0"))
    run = Run.open("blend/two-kinds")
    assert len(run.predictions("valid")) == len(data.split("valid").dataset) + 12
    by_dataset = run.info["summary"]["by_dataset"]
    assert by_dataset[data.dataset.name] == pytest.approx(data.split("valid").avg_cos(run.predictions("valid")))
    assert f"  the blend on others: {by_dataset['others']:.4f}" in capsys.readouterr().out

    # A member that was fitted on these has rows of them out of its folds, and is not asked to predict what it knows.
    ids = run.predictions("valid").ids
    assert asked == ["blend/one", "blend/two"]
    asked.clear()
    flags = argv("of-both", "--method=gate", f"--also={tmp_path / 'others'}", "--workers=0")
    main(["blend/two-kinds" if flag == "blend/two" else flag for flag in flags])
    assert asked == ["blend/one"]
    assert Run.open("blend/of-both").predictions("valid").ids.tolist() == ids.tolist()


def test_the_runs_predictor_blends_by_bands(argv, monkeypatch):
    main(argv("predicting", "--method=bands"))

    def of_rows(self, run, device):
        self.members = dict.fromkeys(run.info["members"])

    monkeypatch.setattr(BlendPredictor, "__init__", of_rows)  # the members are mere rows here
    predictor = load_predictor(Run.open("blend/predicting"), "cpu")
    assert isinstance(predictor, BandPredictor)
    expected = Run.open("blend/predicting").predictions("test").vectors
    np.testing.assert_array_equal(predictor.combined(vectors("test")), expected)


def test_choices_that_make_no_sense_are_refused(argv):
    with pytest.raises(SystemExit, match="--method boosting is not allowed: give one of weights, bands, gate"):
        main(argv("typo", "--method=boosting"))
    with pytest.raises(SystemExit, match="--weights leave --method bands nothing to fit"):
        main(argv("both", "--method=bands", "--weights", "0.5", "0.5"))
