import json
import shutil

from clipknight.embedding.cache import image_embeddings
from clipknight.embedding.captioned_dataset import CaptionedDataset
from clipknight.embedding.clip import load_clip
from clipknight.embedding.embeddings import Embeddings
from clipknight.ensemble.knn import DistanceWeightedKNN
from fold_study import main, out_of_fold_scores

import numpy as np
import pytest
import tiny_models
from sklearn.linear_model import Ridge

ONE_GROUP, A_GROUP_A_COLOUR = -1, 0.999


@pytest.fixture(scope="module")
def argv(coloured, tiny_clip, tiny_target_encoder):
    def words(out, thresholds, data=coloured):
        named = {"data": data, "encoder": tiny_clip, "target_encoder": tiny_target_encoder, "out": out}
        options = {"folds": 3, "n_neighbors": 3, "precision": "fp32", "device": "cpu", "workers": 0}
        flags = [f"--{name}={value}" for name, value in {**named, **options}.items()]
        return [*flags, "--thresholds", *map(str, thresholds)]

    return words


@pytest.fixture(scope="module")
def study(argv, tmp_path_factory):
    """(what main returns, the file it writes) for pictures of six colours, four of each."""
    out = tmp_path_factory.mktemp("study") / "folds.json"
    return main(argv(out, [A_GROUP_A_COLOUR, ONE_GROUP])), out


def test_a_colour_seen_by_no_other_fold_cannot_be_told(study):
    found, out = study
    colours, _ = found["thresholds"]
    assert (colours["groups"], colours["largest_groups"], colours["fold_sizes"]) == (6, [4] * 5, [8] * 3)
    for name in ("knn", "ridge"):
        assert colours["flattery"][name] == colours["random"][name] - colours["grouped"][name] > 0.03
        assert found["random"][name] == pytest.approx(found["valid"][name], abs=0.05)
    assert json.loads(out.read_text(encoding="utf-8")) == found


def test_one_group_of_all_is_counted_and_not_scored(study):
    assert study[0]["thresholds"][1] == {"threshold": ONE_GROUP, "groups": 1, "largest_groups": [24]}


def test_a_group_that_overfills_its_fold_is_said(argv, study, coloured, tmp_path, capsys):
    data = shutil.copytree(coloured, tmp_path / "red")
    lines = (data / "captions.txt").read_text(encoding="utf-8").splitlines()
    for i in range(19):  # of 24
        colour = list(tiny_models.COLOURS)[i % 6]
        lines = [line.replace(colour, "red") if line.startswith(f"train{i:02d}") else line for line in lines]
    (data / "captions.txt").write_text("\n".join([*lines, ""]), encoding="utf-8")
    found = main(argv(tmp_path / "out.json", [A_GROUP_A_COLOUR], data))["thresholds"][0]
    assert (found["largest_groups"], found["fold_sizes"][0]) == ([19, 1, 1, 1, 1], 19)
    assert "the largest group overfills its fold: 79% of the images, told by the rest" in capsys.readouterr().out


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
