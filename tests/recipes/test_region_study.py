import json

from clipknight.embedding.cache import caption_embeddings, image_embeddings
from clipknight.embedding.captioned_dataset import CaptionedDataset
from clipknight.embedding.clip import load_clip
from clipknight.embedding.embeddings import unit
from clipknight.embedding.metrics import retrieval_recall
from region_study import best_cosines, main, pair_scores, vectors_by_way

import numpy as np
import pytest
from run_folders import files

WAYS = ["image", "mean region", "image + mean region", "best region", "image + best region"]


@pytest.fixture(scope="module")
def argv(coloured, tiny_clip, tiny_target_encoder):
    named = {"data": coloured, "encoder": f"{tiny_clip}@64", "target_encoder": tiny_target_encoder, "split": "train"}
    options = {"regions": 4, "precision": "fp32", "device": "cpu", "pictures": 2}
    return [f"--{name}={value}" for name, value in {**named, **options}.items()]


@pytest.fixture(scope="module")
def studied(argv, tmp_path_factory):
    out = tmp_path_factory.mktemp("study") / "regions"
    return main([*argv, f"--out={out}"]), out


def random_rows(*shape, seed=0):
    return unit(np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


# Scores


def test_cosines_of_the_nearest_row():
    vectors, captions = random_rows(70, 3, 8), random_rows(9, 8, seed=1)
    by_hand = [[max(float(v @ c) for v in rows) for c in captions] for rows in vectors]
    np.testing.assert_allclose(best_cosines(vectors, captions), by_hand, atol=1e-6)


def test_recall_is_that_of_the_metrics_module():
    images, captions = random_rows(40, 4), random_rows(120, 4, seed=1)
    image_of = np.repeat(np.arange(40), 3)
    captions = unit(captions + images[image_of])
    scores = pair_scores(best_cosines(images[:, None], captions), image_of)
    names = {"image_to_text": "i2t", "text_to_image": "t2i"}
    recalls = retrieval_recall(images, captions, image_of)
    for k in (1, 5, 10):
        for long, short in names.items():
            assert scores[f"{short}_r{k}"] == pytest.approx(recalls[f"{long}_r{k}"])
    assert 0 < scores["i2t_r1"] < scores["i2t_r10"] <= 1


def test_paired_and_mismatched():
    cosines = np.array([[0.9, 0.7, 0.1], [0.3, 0.2, 0.5]], dtype=np.float32)
    scores = pair_scores(cosines, np.array([0, 0, 1]))
    assert scores["paired"] == pytest.approx(0.7) and scores["mismatched"] == pytest.approx(0.2)
    assert scores["separation"] == pytest.approx(0.5 / np.std([0.1, 0.3, 0.2]))
    assert scores["i2t_r1"] == scores["t2i_r1"] == 1


def test_one_vector_for_all_images_finds_nothing():
    same = np.tile(random_rows(1, 1, 8), (30, 1, 1))
    scores = pair_scores(best_cosines(same, random_rows(30, 8)), np.arange(30))
    assert scores["t2i_r1"] == scores["t2i_r10"] == 0 and scores["separation"] == pytest.approx(0, abs=0.5)


def test_the_best_of_many_is_nearer_to_any_caption_and_finds_no_more():
    """What the mismatched column is for: with vectors that know nothing, both columns rise, and recall does not."""
    captions = random_rows(200, 16, seed=1)
    one, many = (pair_scores(best_cosines(random_rows(200, m, 16), captions), np.arange(200)) for m in (1, 10))
    assert many["paired"] > one["paired"] + 0.2 and many["mismatched"] > one["mismatched"] + 0.2
    assert many["separation"] == pytest.approx(0, abs=0.3) and many["t2i_r10"] < 0.15


# The study


def test_what_is_written(studied):
    result, out = studied
    assert files(out) == [
        "gap.png",
        "regions-train00.png",
        "regions-train23.png",
        "scores.json",
        "settings.yaml",
    ]
    assert json.loads((out / "scores.json").read_text(encoding="utf-8")) == result
    assert (result["images"], result["captions"]) == (24, 120)
    assert list(result["scores"]) == WAYS and list(result["gap"]) == WAYS[:3]


def test_the_plain_image_embedding_scores_as_elsewhere(studied, coloured, tiny_clip, tiny_target_encoder):
    encoder = load_clip(f"{tiny_clip}@64", "cpu", "fp32")
    data = CaptionedDataset.read(coloured, str(tiny_target_encoder), "cpu").split("train")
    images, captions = image_embeddings(encoder, data.dataset, workers=0), caption_embeddings(encoder, data.dataset)
    image_of = data.image_of_caption
    scores = studied[0]["scores"]["image"]
    own = (images.vectors[image_of] * captions.vectors).sum(axis=1)
    assert scores["paired"] == pytest.approx(own.mean(), abs=1e-5)
    assert studied[0]["gap"]["image"]["pairs"] == 24


def test_ways(tiny_clip):
    from clipknight.embedding.subregions import SubRegions

    found = SubRegions(random_rows(5, 8), random_rows(5, 3, 8, seed=1), np.zeros((5, 3)), np.zeros((5, 2, 2)))
    ways = vectors_by_way(found)
    assert list(ways) == WAYS and {v.shape[1] for v in ways.values()} == {1, 3}
    for vectors in ways.values():
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=-1), 1, atol=1e-6)
    mean = unit(found.regions.mean(axis=1))
    np.testing.assert_allclose(ways["image + mean region"][:, 0], unit(found.whole + mean), atol=1e-6)
    np.testing.assert_array_equal(ways["image + best region"], found.joined(1.0))


@pytest.mark.slow
def test_a_study_of_fewer_images_repeats(argv, tmp_path, capsys):
    first, again = (main([*argv, "--limit=21", f"--out={tmp_path / 'fewer'}"]) for _ in range(2))
    assert first == again and (first["images"], first["captions"]) == (21, 105)
    assert "21 images, 105 captions, 4 regions an image" in capsys.readouterr().out


def test_what_is_refused(argv, tmp_path):
    out = f"--out={tmp_path / 'out'}"
    with pytest.raises(SystemExit, match="has no trained joint space: adapt it with src/train_clip.py first"):
        main([*argv, "--encoder=lite2-minilm@64", out])
    with pytest.raises(SystemExit, match="4 x 4 cells, of which 40 regions cannot be taken"):
        main([*argv, "--regions=40", out])
    with pytest.raises(SystemExit, match="--limit 0 is not allowed: give a whole number from 1"):
        main([*argv, "--limit=0", out])
    with pytest.raises(SystemExit, match="8 pairs tell nothing of a distribution"):
        main([*argv, "--split=valid", out])
    assert not (tmp_path / "out").exists()
    (tmp_path / "scores.json").write_text("{}", encoding="utf-8")
    with pytest.raises(SystemExit, match="holds scores.json of something else: choose another --out"):
        main([*argv, f"--out={tmp_path}"])
