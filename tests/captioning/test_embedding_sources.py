import shutil
from dataclasses import replace

from clipknight.captioning.embedding_sources import encoder_space, open_source
from clipknight.data.datasets import read_dataset
from clipknight.embedding.cache import image_embeddings, subregion_embeddings
from clipknight.embedding.clip import load_clip
from clipknight.embedding.embeddings import Embeddings
from clipknight.embedding.settings import MINILM
from clipknight.ensemble.predictors import load_predictor
from clipknight.training.runs import Run

import numpy as np
import pytest
import tiny_models
import torch
import yaml


@pytest.fixture(scope="module")
def valid(coloured):
    return read_dataset(coloured).split("valid")


@pytest.fixture
def own_run(image_run, outputs):
    """A copy of the run whose saved predictions of valid are not those it would make."""
    run = Run(shutil.copytree(Run.open(image_run).folder, outputs / "captioning" / "own", dirs_exist_ok=True))
    saved = run.predictions("valid")
    Embeddings(saved.ids, np.asarray(saved.vectors)[::-1].copy()).save(run.folder / "predictions" / "valid")
    return run


def test_a_run_that_predicts(image_run, valid, colour_encoder):
    source = open_source(image_run, "cpu")
    assert (source.name, source.space) == (image_run, ["target", str(colour_encoder)])
    rows = source.embeddings(valid, workers=0)
    expected = load_predictor(Run.open(image_run), "cpu").predict(valid, workers=0)
    assert rows.ids.tolist() == valid.ids.tolist()
    np.testing.assert_array_equal(rows.vectors, expected.vectors)
    assert open_source(str(Run.open(image_run).folder), "cpu").space == source.space


def test_an_encoder_with_a_joint_space(tiny_clip, valid):
    source, encoder = open_source(str(tiny_clip), "cpu"), load_clip(str(tiny_clip), "cpu")
    assert source.space == encoder_space(encoder) and source.space[0] == "clip"
    np.testing.assert_array_equal(
        source.embeddings(valid, workers=0).vectors, image_embeddings(encoder, valid, workers=0).vectors
    )


def test_sub_regions_of_an_encoder(tiny_clip, valid, image_run):
    source = open_source(str(tiny_clip), "cpu")
    rows = source.of_split(valid, "valid", workers=0, regions=2)
    kept = subregion_embeddings(load_clip(str(tiny_clip), "cpu"), valid, 2, workers=0)
    np.testing.assert_array_equal(rows.vectors, kept.vectors)
    np.testing.assert_array_equal(rows.regions, kept.regions)
    assert (rows.dim, rows.regions.shape) == (16, (8, 2, 16))
    without = open_source(image_run, "cpu").of_split(valid, "valid", workers=0, regions=2)  # a run knows none
    assert without.dim == 24 and without.regions is None


def test_a_space_is_the_same_in_every_precision(tiny_clip, tmp_path):
    spaces = [encoder_space(load_clip(str(tiny_clip), "cpu", precision)) for precision in ("fp32", "bf16")]
    assert spaces[0] == spaces[1]
    other = load_clip(str(tiny_models.write_clip(tmp_path / "other", seed=1)), "cpu")
    assert encoder_space(other) != spaces[0]
    tuned = load_clip(str(tiny_clip), "cpu")
    with torch.no_grad():
        tuned.visual.proj += 1  # the captions stay where they are
    assert encoder_space(tuned) == spaces[0]


def test_captions_that_are_targets_share_their_space(tiny_clip):
    locked = replace(load_clip(str(tiny_clip), "cpu"), root="lite2-minilm@64")
    assert encoder_space(locked) == ["target", MINILM]
    assert encoder_space(replace(locked, locked_text=False))[0] == "clip"


def test_saved_predictions_come_first(own_run, valid):
    source = open_source(own_run.name, "cpu")
    rows = source.of_split(valid, "valid", workers=0)
    np.testing.assert_array_equal(rows.vectors, own_run.predictions("valid").vectors)
    assert not np.array_equal(rows.vectors, source.embeddings(valid, workers=0).vectors)
    some = replace(valid, images=valid.images.iloc[[5, 2]].reset_index(drop=True))
    np.testing.assert_array_equal(source.of_split(some, "valid").vectors, rows.vectors[[5, 2]])


def test_images_that_have_no_saved_prediction_are_predicted(own_run, valid, coloured):
    source = open_source(own_run.name, "cpu")
    both = read_dataset(coloured)
    some = replace(both, images=both.images[both.images["split"] != "test"].reset_index(drop=True))
    np.testing.assert_array_equal(
        source.of_split(some, "valid", workers=0).vectors, source.embeddings(some, workers=0).vectors
    )
    train = both.split("train")
    assert source.of_split(train, "train", workers=0).ids.tolist() == train.ids.tolist()


def test_another_dataset_with_the_same_ids_is_predicted(own_run, coloured, tmp_path):
    other = read_dataset(shutil.copytree(coloured, tmp_path / "other")).split("valid")
    source = open_source(own_run.name, "cpu")
    rows = source.of_split(other, "valid", workers=0)
    np.testing.assert_array_equal(rows.vectors, source.embeddings(other, workers=0).vectors)
    settings = own_run.settings | {"data": str(other.root / "captions.txt")}
    (own_run.folder / "settings.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    rows = open_source(own_run.name, "cpu").of_split(other, "valid")
    np.testing.assert_array_equal(rows.vectors, own_run.predictions("valid").vectors)


def test_what_embeds_no_images_is_refused(tmp_path):
    with pytest.raises(ValueError, match="'lite2-minilm@64' has no joint space .*adapt it by train_clip.py first"):
        open_source("lite2-minilm@64", "cpu")
    with pytest.raises(ValueError, match="no encoder is called 'ensembel'"):
        open_source("ensembel", "cpu")
    with pytest.raises(ValueError, match="holds no encoder"):
        open_source(str(tmp_path), "cpu")


def test_a_run_of_captions_embeds_no_images(knight_run):
    with pytest.raises(ValueError, match="holds no encoder"):
        open_source(knight_run, "cpu")
