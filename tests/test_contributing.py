"""The recipes of CONTRIBUTING.md, done as they are written."""

import importlib
import sys
from dataclasses import dataclass
from types import ModuleType

import blend
from clipknight.data import layouts
from clipknight.data.datasets import read_dataset
from clipknight.data.table_layouts import flickr
from clipknight.devices import WorkerSettings
from clipknight.embedding.captioned_dataset import CaptionedDataset
from clipknight.embedding.embeddings import Embeddings, unit
from clipknight.embedding.settings import DataSettings, SkippingSettings
from clipknight.ensemble.predictors import PREDICTORS, load_predictor, save_split_predictions
from clipknight.ensemble.settings import HEADS
from clipknight.training.runs import Run

import numpy as np
import pytest
from torch import nn


class PlainHead(nn.Module):
    """(B, dim) -> (B, target_dim), and nothing that the project's own heads have."""

    def __init__(self, dim, target_dim):
        super().__init__()
        self.layer = nn.Linear(dim, target_dim)

    def forward(self, image_embedding):
        return self.layer(image_embedding)


class DroppingHead(PlainHead):
    def __init__(self, dim, target_dim, dropout=0.9):
        super().__init__(dim, target_dim)
        self.dropout = dropout


@pytest.fixture(scope="module")
def flags(coloured, tiny_clip, tiny_target_encoder):
    named = {"data": coloured, "target_encoder": tiny_target_encoder, "device": "cpu"}
    return [f"--{name}={value}" for name, value in named.items()]


@pytest.mark.parametrize(("head", "dropout"), [(PlainHead, None), (DroppingHead, 0.3)])
def test_a_head_of_ones_own(monkeypatch, flags, tiny_clip, coloured, tiny_target_encoder, head, dropout):
    module = ModuleType("clipknight.ensemble.own_heads")
    module.Head = head
    monkeypatch.setitem(sys.modules, "clipknight.ensemble.own_heads", module)
    monkeypatch.setitem(HEADS, "yours", "clipknight.ensemble.own_heads:Head")
    monkeypatch.delitem(sys.modules, "train_a", raising=False)  # its flag offers what HEADS holds as it is imported
    train_a = importlib.import_module("train_a")
    more = {"encoder": tiny_clip, "epochs": 1, "batch_size": 8, "precision": "fp32", "workers": 0, "run": "own/a"}
    train_a.main([*flags, "--head=yours", "--overwrite", *(f"--{name}={value}" for name, value in more.items())])
    predictor = load_predictor(Run.open("own/a"), "cpu")
    assert isinstance(predictor.head, head) and getattr(predictor.head, "dropout", None) == dropout
    data = CaptionedDataset.read(coloured, str(tiny_target_encoder), "cpu").dataset
    again = predictor.predict(data.split("valid"), workers=0)
    np.testing.assert_array_equal(again.vectors, Run.open("own/a").predictions("valid").vectors)


class ModelC:
    """The shortest member: it answers every image alike."""

    def __init__(self, run, device="auto"):
        self.name = run.name

    def predict(self, dataset, batch_size=64, workers=2, skip_unreadable=False):
        return Embeddings(dataset.ids, np.tile(unit(np.ones((1, 24))), (len(dataset), 1)).astype(np.float32))


@dataclass(frozen=True, kw_only=True)
class Settings(WorkerSettings, SkippingSettings, DataSettings):
    """Settings of train_c.py"""


def test_a_member_of_ones_own(monkeypatch, flags, coloured, tiny_target_encoder):
    module = ModuleType("clipknight.ensemble.model_c")
    module.ModelC = ModelC
    monkeypatch.setitem(sys.modules, "clipknight.ensemble.model_c", module)
    monkeypatch.setitem(PREDICTORS, "model_c", "clipknight.ensemble.model_c:ModelC")
    settings = Settings(data=str(coloured), target_encoder=str(tiny_target_encoder), device="cpu", workers=0)
    data = CaptionedDataset.of(settings)
    for name in ("own/c", "own/d"):
        run = Run.start(name, settings, "model_c", overwrite=True)
        save_split_predictions(run, data.dataset, settings)
        run.finish(avg_cos=data.split("valid").avg_cos(run.predictions("valid")))
    score = blend.main([*flags, "--members", "own/c", "own/d", "--run=own/ensemble", "--weights", "0.5", "0.5"])
    assert score == pytest.approx(Run.open("own/c").info["summary"]["avg_cos"], abs=1e-6)


def test_a_layout_of_ones_own(monkeypatch, tmp_path, coloured):
    def renamed(folder, found, columns, images):
        """Flickr8k's table under a name of one's own."""
        return flickr(folder, found, columns, images) if (folder / "mine.marker").is_file() else None

    monkeypatch.setattr(layouts, "LAYOUTS", [(["my_captions.txt"], "one's own", renamed), *layouts.LAYOUTS])
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "Images").symlink_to(coloured / "Images")
    text = (coloured / "captions.txt").read_text(encoding="utf-8")
    (folder / "my_captions.txt").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match="my_captions.txt"):
        read_dataset(folder)
    (folder / "mine.marker").touch()
    assert read_dataset(folder).ids.tolist() == read_dataset(coloured).ids.tolist()
