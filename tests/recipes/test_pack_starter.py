import json

import train_a
import train_knight
from clipknight.captioning.knight import load_knight
from clipknight.embedding.captioned_dataset import CaptionedDataset
from clipknight.ensemble.predictors import load_predictor
from clipknight.methods.registry import open_captioner
from clipknight.training.runs import Run
from pack_starter import main

import numpy as np
import pytest
import torch
from safetensors.torch import load_file


@pytest.fixture(scope="module")
def image_model(coloured, tiny_clip, colour_encoder):
    named = {"data": coloured, "encoder": tiny_clip, "target_encoder": colour_encoder, "run": "packing/a"}
    options = {"epochs": 0, "head_epochs": 5, "precision": "fp32", "device": "cpu", "workers": 0}
    train_a.main([f"--{name}={value}" for name, value in {**named, **options}.items()])
    return Run.open("packing/a")


@pytest.fixture(scope="module")
def knight(knight_argv):
    train_knight.main(knight_argv("unpacked", "--epochs=1"))
    return Run.open("captioning/unpacked")


@pytest.fixture(scope="module")
def packed(image_model, knight, coloured, tmp_path_factory):
    out = tmp_path_factory.mktemp("packed") / "starter"
    out.mkdir()
    (out / "README.md").write_text("the card", encoding="utf-8")
    words = ["--image_run=packing/a", f"--knight_run={knight.name}", "--corpus", str(coloured), "--corpus_share=0.5"]
    assert main([*words, f"--out={out}"]) == out
    return out


def test_weights_in_16_bits_and_no_trace_of_training(packed, image_model):
    assert (packed / "README.md").read_text(encoding="utf-8") == "the card"
    assert sorted(path.name for path in packed.iterdir()) == ["README.md", "a", "knight"]
    for name in ("a", "knight"):
        corpus = ["corpus"] if name == "knight" else []
        found = sorted(path.name for path in (packed / name).iterdir())
        assert found == ["best", *corpus, "run.json", "settings.yaml"]
        info = json.loads((packed / name / "run.json").read_text(encoding="utf-8"))
        assert info["finished"] and not info.keys() & {"summary", "members"}
        weights = [t for file in (packed / name).rglob("*.safetensors") for t in load_file(file).values()]
        assert weights and not any(tensor.dtype == torch.float32 for tensor in weights)
    assert any(t.dtype == torch.float32 for t in load_file(image_model.folder / "best" / "head.safetensors").values())


def test_settings_name_what_every_user_has(packed, coloured):
    knight, image = (Run.open(packed / name).settings for name in ("knight", "a"))
    assert (knight["corpus"], knight["corpus_share"]) == ([str(coloured)], 0.5)
    assert knight["from_"] == f"{packed}/a" and (knight["data"], image["data"], image["run"]) == ("", "", "")


def test_they_predict_and_say_nearly_the_same(packed, image_model, knight, coloured, colour_encoder):
    valid = CaptionedDataset.read(coloured, str(colour_encoder), "cpu").dataset.split("valid")
    rows = load_predictor(Run.open(packed / "a"), "cpu").predict(valid, workers=0)
    np.testing.assert_allclose(rows.vectors, image_model.predictions("valid").vectors, atol=0.02)
    before, after = (load_knight(folder / "best")[0].state_dict() for folder in (knight.folder, packed / "knight"))
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        np.testing.assert_allclose(after[name].float(), tensor, rtol=1e-3, atol=1e-6, err_msg=name)
    captioner = open_captioner(Run.open(packed / "knight"), device="cpu", precision="fp32")
    assert (
        len(captioner.caption(rows.vectors).texts) == 8 and captioner.retriever.corpus.described.max() == 11
    )  # half of 24
