import json

from clipknight.dataset_targets import CaptionedDataset
from clipknight.embedding_cache import image_embeddings
from clipknight.embeddings import Embeddings
from clipknight.encoders import load_clip
from clipknight.knn import DistanceWeightedKNN
from fold_study import main, out_of_fold_scores

import numpy as np
import pytest
from sklearn.linear_model import Ridge

ONE_GROUP, A_GROUP_A_COLOUR = -1, 0.999


@pytest.fixture(scope="module")
def study(coloured, tiny_clip, tiny_target_encoder, tmp_path_factory):
    """(what main returns, the file it writes, what it prints) for pictures of six colours, four of each."""
    out = tmp_path_factory.mktemp("study") / "folds.json"
    named = {"data": coloured, "encoder": tiny_clip, "target_encoder": tiny_target_encoder, "out": out}
    options = {"folds": 3, "n_neighbors": 3, "precision": "fp32", "device": "cpu", "workers": 0}
    flags = [f"--{name}={value}" for name, value in {**named, **options}.items()]
    found = main([*flags, "--thresholds", str(A_GROUP_A_COLOUR), str(ONE_GROUP)])
    return found, out


def test_a_colour_seen_by_no_other_fold_cannot_be_told(study):
    found, out = study
    colours, _ = found["thresholds"]
    assert (colours["groups"], colours["largest_groups"], colours["fold_sizes"]) == (6, [4] * 5, [8] * 3)
    for name in ("knn", "ridge"):
        assert colours["flattery"][name] == colours["random"][name] - colours["grouped"][name] > 0.1
        assert found["random"][name] == pytest.approx(found["valid"][name], abs=0.05)
    assert json.loads(out.read_text()) == found


def test_one_group_of_all_is_counted_and_not_scored(study, capsys):
    everything = study[0]["thresholds"][1]
    assert everything == {"threshold": ONE_GROUP, "groups": 1, "largest_groups": [24]}


def test_a_group_that_overfills_its_fold_is_said(coloured, tiny_clip, tiny_target_encoder, tmp_path, capsys):
    named = {"data": coloured, "encoder": tiny_clip, "target_encoder": tiny_target_encoder, "out": tmp_path / "o.json"}
    options = {"folds": 6, "n_neighbors": 3, "precision": "fp32", "device": "cpu", "workers": 0, "seed": 1}
    flags = [f"--{name}={value}" for name, value in {**named, **options}.items()]
    thresholds = [0.2, 0.4, 0.6, 0.8, A_GROUP_A_COLOUR, ONE_GROUP]
    found = main([*flags, "--thresholds", *map(str, thresholds)])
    said = capsys.readouterr().out
    counts = [row["groups"] for row in found["thresholds"][:5]]
    assert counts == sorted(counts) and counts[-1] == 6
    assert "too few groups for 6 folds" in said and "overfills" not in said.split("cosine >= 0.999")[1]


def test_scores_by_hand(coloured, tiny_clip, tiny_target_encoder):
    train = CaptionedDataset.read(coloured, str(tiny_target_encoder), "cpu").split("train")
    keys = image_embeddings(load_clip(str(tiny_clip), "cpu", "fp32"), train.dataset, workers=0).vectors
    fold = np.random.default_rng(0).integers(0, 3, len(keys))
    models = {"knn": DistanceWeightedKNN(4), "ridge": Ridge(0.5)}
    scores = out_of_fold_scores(models, keys, train, fold)
    for name, model in models.items():
        rows = np.empty((len(keys), 24))
        for f in range(3):
            model.fit(keys[fold != f], train.mean_targets()[fold != f])
            rows[fold == f] = model.predict(keys[fold == f])
        assert scores[name] == pytest.approx(train.avg_cos(Embeddings(train.dataset.ids, rows)))
