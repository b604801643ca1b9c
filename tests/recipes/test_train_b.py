import shutil

from clipknight.embedding.cache import caption_embeddings, image_embeddings
from clipknight.embedding.captioned_dataset import CaptionedDataset
from clipknight.embedding.clip import load_clip
from clipknight.embedding.embeddings import unit
from clipknight.ensemble.predictors import load_predictor
from clipknight.training.runs import Run
from train_b import main

import numpy as np
import pytest
import tiny_models
from run_folders import files


@pytest.fixture(scope="module")
def argv(coloured, tiny_clip, tiny_target_encoder):
    def words(run, *more):
        named = {"data": coloured, "encoder": tiny_clip, "target_encoder": tiny_target_encoder, "run": f"b/{run}"}
        options = {"n_neighbors": 10, "precision": "fp32", "device": "cpu", "workers": 0}
        return [*(f"--{name}={value}" for name, value in {**named, **options}.items()), *more]

    return words


@pytest.fixture(scope="module")
def data(coloured, tiny_target_encoder):
    return CaptionedDataset.read(coloured, str(tiny_target_encoder), "cpu")


def by_hand(keys, values, queries, k):
    """y = sum of v / (d^6 + 1e-4) over the k nearest by cosine distance d, at length 1 (Che et al. 2023, eq. 4-5)."""
    rows = []
    for query in queries.astype(np.float64):
        distance = np.clip(1 - keys.astype(np.float64) @ query, 0, None)
        nearest = np.argsort(distance, kind="stable")[:k]
        weight = 1 / (distance[nearest] ** 6 + 1e-4)
        rows.append(weight @ values[nearest].astype(np.float64))
    return unit(np.stack(rows))


def embedded(tiny_clip, data, split):
    encoder, part = load_clip(str(tiny_clip), "cpu", "fp32"), data.split(split)
    return image_embeddings(encoder, part.dataset, workers=0).vectors, caption_embeddings(encoder, part.dataset).vectors


def test_neighbours_among_the_training_images(argv, data, tiny_clip):
    score = main(argv("image"))
    run, train = Run.open("b/image"), data.split("train")
    keys, queries = embedded(tiny_clip, data, "train")[0], embedded(tiny_clip, data, "valid")[0]
    expected = by_hand(np.asarray(keys), train.mean_targets(), np.asarray(queries), 10)
    np.testing.assert_allclose(run.predictions("valid").vectors, expected, atol=1e-4)
    assert score == data.split("valid").avg_cos(run.predictions("valid")) == run.info["summary"]["avg_cos"]
    assert run.predictions("test").ids.tolist() == data.dataset.split("test").ids.tolist()
    assert run.finished and run.events()[0]["avg_cos"] == score
    outside = [name for name in files(run.folder) if not name.startswith(("best/", "predictions/"))]
    assert outside == ["README.md", "metrics.jsonl", "run.json", "settings.yaml"]


def test_neighbours_among_the_captions(argv, data, tiny_clip):
    main(argv("joint", "--space=joint", "--n_neighbors=7"))
    run, train = Run.open("b/joint"), data.split("train")
    keys, queries = np.asarray(embedded(tiny_clip, data, "train")[1]), np.asarray(embedded(tiny_clip, data, "valid")[0])
    # Equal captions tie: the neighbours may differ, what they say does not.
    expected = by_hand(keys, np.asarray(train.targets.vectors), queries, 7)
    np.testing.assert_allclose(run.predictions("valid").vectors, expected, atol=1e-3)


def test_images_of_a_colour_get_that_colours_captions(argv, data):
    score = main(argv("near", "--n_neighbors=4"))
    valid = data.split("valid")
    possible = np.linalg.norm(valid.mean_targets(), axis=1).mean()
    assert score == pytest.approx(possible, abs=1e-3)


def test_the_run_predicts_again(argv, data):
    main(argv("again"))
    run = Run.open("b/again")
    rows = load_predictor(run, "cpu").predict(data.dataset.split("valid"), workers=0)
    np.testing.assert_array_equal(rows.vectors, run.predictions("valid").vectors)
    assert rows.meta == {"run": "b/again"} and rows.vectors.dtype == np.float32


def test_a_joint_space_that_is_not_trained_is_refused(argv):
    with pytest.raises(SystemExit, match="has no trained joint space: adapt it with src/train_clip.py first"):
        main(argv("untrained", "--encoder=lite2-minilm@64", "--space=joint"))
    with pytest.raises(FileNotFoundError):
        Run.open("b/untrained")


def test_pooled_features_of_the_offline_default(argv, data):
    main(argv("pooled", "--encoder=lite2-minilm@64"))
    assert (Run.open("b/pooled").predictions("valid").dim, len(Run.open("b/pooled").predictions("test"))) == (24, 6)


def test_an_unknown_space_is_refused(argv):
    with pytest.raises(SystemExit, match="--space text is not allowed: give one of image, joint"):
        main(argv("typo", "--space=text"))


def test_an_encoder_that_has_changed_since_is_refused(argv, data, tiny_clip, tmp_path):
    encoder = shutil.copytree(tiny_clip, tmp_path / "mine")
    main(argv("stale", f"--encoder={encoder}"))
    shutil.rmtree(encoder)
    tiny_models.write_clip(encoder, seed=5)
    with pytest.raises(ValueError, match="fitted on another version of encoder .*fit it again with src/train_b.py"):
        load_predictor(Run.open("b/stale"), "cpu")


def test_overwriting(argv):
    main(argv("twice"))
    with pytest.raises(SystemExit, match="--overwrite"):
        main(argv("twice", "--n_neighbors=3"))
    main(argv("twice", "--n_neighbors=3", "--overwrite"))
    assert Run.open("b/twice").settings["n_neighbors"] == 3


def test_more_neighbours_than_there_are_leave_nothing_behind(argv, outputs):
    with pytest.raises(SystemExit, match="--n_neighbors 1,000 is more than there are, 24: leave it out for all"):
        main(argv("many", "--n_neighbors=1000"))
    assert not list(outputs.glob("**/many"))


def test_empty_names_are_refused(argv):
    with pytest.raises(SystemExit, match="no dataset is named: --data FOLDER"):
        main(argv("empty", "--data="))
    for flag in ("encoder", "target_encoder"):
        with pytest.raises(SystemExit, match=f"--{flag} '' is not allowed: give a name, which is not empty"):
            main(argv("empty", f"--{flag}="))


def test_an_approximate_index_says_its_recall(argv, capsys):
    main(argv("hnsw", "--index=hnsw", "--n_neighbors=5"))
    assert "hnsw index: recall@5 1.0" in capsys.readouterr().out
    assert Run.open("b/hnsw").finished


def test_an_index_on_disk_says_what_it_costs_and_predicts_again(argv, data, capsys):
    exact = main(argv("exact", "--n_neighbors=5"))
    capsys.readouterr()
    score = main(argv("disk", "--index=ivf_sq8", "--n_neighbors=5"))
    run = Run.open("b/disk")
    compared = f"recall@5 1.0000 against exact search on {len(data.split('valid').dataset)} valid images, where Avg-Cos"
    assert f"ivf_sq8 index: {compared} is {exact:.4f}, exactly {exact:.4f}" in capsys.readouterr().out
    assert score == exact
    assert not (run.folder / "index").exists() and (run.folder / "best" / "lists.ivfdata").is_file()
    predicted = load_predictor(run, "cpu").predict(data.dataset.split("valid"), workers=0)
    np.testing.assert_array_equal(predicted.vectors, run.predictions("valid").vectors)


def test_auto_says_what_it_chose(argv, capsys):
    main(argv("auto", "--index=auto", "--n_neighbors=5"))
    assert "are few enough to compare with all" in capsys.readouterr().out
    assert not (Run.open("b/auto").folder / "best" / "index.faiss").exists()
