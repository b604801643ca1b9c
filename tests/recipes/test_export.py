"""Exported runs: graphs that give a run's predictions without torch, and what they cannot be."""

import ast
import json
import runpy
import sys
from pathlib import Path

import blend
import export
import recognise
import refine
import train_a
from clipknight.data.datasets import image_folder
from clipknight.embedding.backends import mean_cosine
from clipknight.embedding.graphs import Graph
from clipknight.ensemble.predictors import load_predictor
from clipknight.packing.prediction_module import PredictionModule
from clipknight.paths import ROOT
from clipknight.training.runs import Run

import numpy as np
import pytest
import torch
from PIL import Image

EXAMPLE = ROOT / "docs" / "use_exported.py"


@pytest.fixture
def onnx():
    pytest.importorskip("onnxruntime", reason="the extra is not installed")
    pytest.importorskip("onnx", reason="the extra is not installed")


def words(**named) -> list[str]:
    return [f"--{name}={value}" for name, value in named.items()]


@pytest.fixture(scope="module")
def ensemble(coloured, tiny_clip, colour_encoder, image_run, tmp_path_factory) -> Run:
    """Of every kind of member that a graph can hold, two of which see images by one tower."""
    shared = {"data": coloured, "target_encoder": colour_encoder, "device": "cpu"}
    options = {**shared, "precision": "fp32", "workers": 0, "encoder": tiny_clip}
    train_a.main([*words(**options, run="export/a", epochs=0, head_epochs=3), "--flip_tta"])
    refine.main(words(**shared, **{"from": "export/a"}, run="export/refined", n_neighbors=5, centre=0.5))
    vocabulary = tmp_path_factory.mktemp("words") / "colours.txt"
    vocabulary.write_text("red\ngreen\nblue\nwhite\n", encoding="utf-8")
    recognise.main(words(**options, vocabulary=vocabulary, run="export/concepts", top=3))
    members = ["export/a", image_run, "export/refined", "export/concepts"]
    fixed = ["--weights", "0.4", "0.3", "0.2", "0.1"]
    blend.main([*words(**shared, run="export/ensemble"), "--members", *members, *fixed])
    return Run.open("export/ensemble")


@pytest.fixture(scope="module")
def pictures(coloured) -> Path:
    return coloured / "Images"


@pytest.fixture(scope="module")
def predicted(ensemble, pictures):
    return load_predictor(ensemble, "cpu").predict(image_folder(pictures), workers=0)


@pytest.fixture(scope="module")
def exported(ensemble, tmp_path_factory) -> Path:
    for package in ("onnx", "onnxruntime"):
        pytest.importorskip(package, reason="the extra is not installed")
    return export.main(words(run=ensemble.name, out=tmp_path_factory.mktemp("exported") / "ensemble"))


def by_the_example(folder: Path, pictures: Path, monkeypatch) -> np.ndarray:
    """The rows that the program in docs/ has for all pictures, in the order of their names."""
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), str(folder), *map(str, sorted(pictures.iterdir()))])
    return runpy.run_path(str(EXAMPLE))["rows"]


def test_the_example_predicts_as_the_run_does(exported, pictures, predicted, monkeypatch):
    assert sorted(file.name for file in exported.iterdir()) == ["model.onnx", "preprocessing.json"]
    np.testing.assert_allclose(by_the_example(exported, pictures, monkeypatch), predicted.vectors, atol=2e-5)


def test_any_number_of_pictures(exported):
    run = Graph(exported / "model.onnx", "onnx")
    pixels = np.random.default_rng(0).standard_normal((5, 3, 32, 32)).astype(np.float32)
    np.testing.assert_allclose(run(pixels=pixels)[3:4], run(pixels=pixels[3:4]), atol=1e-6)


def test_the_example_needs_three_packages():
    tree = ast.parse(EXAMPLE.read_text(encoding="utf-8"))
    imported = [name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names]
    imported = {name.name for name in imported} | {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert imported - sys.stdlib_module_names == {"numpy", "onnxruntime", "PIL"}


def test_what_preprocessing_says(exported, ensemble):
    told = json.loads((exported / "preprocessing.json").read_text(encoding="utf-8"))
    assert told["input"] == {"name": "pixels", "shape": ["rows", 3, 32, 32], "type": "float32", "channels": "RGB"}
    assert told["resize"] == {"mode": "shortest", "height": 32, "width": 32, "interpolation": "bicubic"}
    assert told["mean"] == told["std"] == [0.5, 0.5, 0.5]
    assert told["output"]["target_encoder"] == ensemble.settings["target_encoder"]
    assert told["precision"] == "fp32" and told["cosine_to_torch"]["mean"] > 0.99999


def test_members_that_see_by_one_tower_share_it(ensemble):
    module = PredictionModule(load_predictor(ensemble, "cpu"))
    assert len(module.towers) == 2  # the encoder's, which a has not fine-tuned, and the same of the mirror image


def test_openvino_too(exported, ensemble, image_run, pictures, predicted, tmp_path):
    pytest.importorskip("openvino", reason="the extra is not installed")
    paths = image_folder(pictures).images["path"]
    encoder = load_predictor(ensemble, "cpu").members["export/a"].encoder
    pixels = torch.stack([encoder.preprocess(Image.open(path)) for path in paths])
    rows = Graph(exported / "model.onnx", "openvino")(pixels=pixels.numpy())
    np.testing.assert_allclose(rows, predicted.vectors, atol=2e-5)
    out = export.main(words(run=image_run, out=tmp_path / "out", to="openvino", images=pictures, count=6))
    assert sorted(file.name for file in out.iterdir()) == ["model.bin", "model.xml", "preprocessing.json"]
    wanted = load_predictor(Run.open(image_run), "cpu").predict(image_folder(pictures), workers=0)
    np.testing.assert_allclose(Graph(out / "model.xml", "openvino")(pixels=pixels.numpy()), wanted.vectors, atol=2e-5)


def test_eight_bits_are_near_and_their_loss_is_printed(onnx, ensemble, pictures, tmp_path, monkeypatch, capsys):
    out = export.main([*words(run="export/a", out=tmp_path / "out", images=pictures, count=24), "--int8"])
    assert "onnx, int8: cosine 0.9" in (printed := capsys.readouterr().out) and "on 12 pictures" in printed
    assert "percentile" not in printed  # nothing of ONNX Runtime's own
    assert sorted(file.name for file in out.iterdir()) == ["model.onnx", "preprocessing.json"]
    rows = by_the_example(out, pictures, monkeypatch)
    wanted = load_predictor(Run.open("export/a"), "cpu").predict(image_folder(pictures), workers=0).vectors
    assert 0.9 < mean_cosine(rows, wanted) < 0.99999


def test_it_replaces_only_what_it_wrote_and_only_if_told(onnx, image_run, tmp_path):
    for name in ("preprocessing.json", "letter.txt"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_text("{}", encoding="utf-8")
    argv = words(run=image_run, out=tmp_path / "preprocessing.json")
    with pytest.raises(SystemExit, match="pass --overwrite"):
        export.main(argv)
    assert (export.main([*argv, "--overwrite"]) / "model.onnx").is_file()
    with pytest.raises(SystemExit, match="is no exported run"):
        export.main([*words(run=image_run, out=tmp_path / "letter.txt"), "--overwrite"])


def test_what_says_nothing():
    with pytest.raises(SystemExit, match="add --images FOLDER"):
        export.main(["--run=export/a", "--int8"])


def test_what_cannot_be_a_graph_is_refused_in_one_line(ensemble, image_run):
    def refused(predictor, reason):
        with pytest.raises(ValueError, match=reason) as error:
            PredictionModule(predictor)
        assert "\n" not in str(error.value) and len(str(error.value)) < 400

    member = load_predictor(Run.open(image_run), "cpu")
    member.knn.index = "hnsw"
    refused(member, r"searches by an index \(hnsw\).*--index exact")
    member.tta_sizes = [48]
    refused(member, "images of several sizes")
    whole = load_predictor(ensemble, "cpu")
    whole.members[image_run].encoder = whole.members[image_run].encoder.at_size(48)
    refused(whole, rf"\(32 and 48 pixels; {image_run} .*export the members one by one")
