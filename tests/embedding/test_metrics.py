from clipknight.embedding import metrics
from clipknight.embedding.embeddings import Embeddings, unit
from clipknight.embedding.metrics import avg_cos, pair_cosines, retrieval_recall

import numpy as np
import pytest

IMAGES = ["x", "y", "z"]
IMAGE_OF_CAPTION = np.array(["y"] * 5 + ["x"] * 1 + ["z"] * 2, dtype=object)


def scored(scale=1.0):
    draw = np.random.default_rng(0)
    predictions = Embeddings(IMAGES, scale * draw.normal(size=(3, 6)).astype(np.float32))
    return predictions, Embeddings([f"c{i}" for i in range(8)], draw.normal(size=(8, 6)).astype(np.float32))


def test_avg_cos_is_the_mean_over_pairs(monkeypatch):
    predictions, targets = scored()
    cosines = []
    for image, target in zip(IMAGE_OF_CAPTION, targets.vectors, strict=True):
        p = predictions.vectors[IMAGES.index(image)]
        cosines.append(p @ target / np.sqrt((p @ p) * (target @ target)))
    assert avg_cos(predictions, targets, IMAGE_OF_CAPTION) == pytest.approx(np.mean(cosines), abs=1e-6)
    monkeypatch.setattr(metrics, "CHUNK_ROWS", 3)
    np.testing.assert_allclose(pair_cosines(predictions, targets, IMAGE_OF_CAPTION), cosines, atol=1e-6)


def test_five_captions_weigh_five_times_one():
    predictions = Embeddings(["x", "y"], np.eye(2, dtype=np.float32))
    targets = Embeddings(list("abcdef"), np.tile(np.float32([[1, 0]]), (6, 1)))
    assert avg_cos(predictions, targets, np.array(["x"] * 5 + ["y"])) == pytest.approx(5 / 6)


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_length_does_not_matter(scale):
    assert avg_cos(*scored(scale), IMAGE_OF_CAPTION) == pytest.approx(avg_cos(*scored(), IMAGE_OF_CAPTION), abs=1e-6)


def test_an_image_without_prediction_is_named():
    predictions, targets = scored()
    with pytest.raises(KeyError, match="no prediction for 1 images: x"):
        avg_cos(predictions.aligned_to(["y", "z"]), targets, IMAGE_OF_CAPTION)


def test_dimensions_must_agree():
    predictions, targets = scored()
    with pytest.raises(ValueError, match="predictions have 6 numbers a row, targets 5"):
        avg_cos(predictions, Embeddings(targets.ids, targets.vectors[:, :5]), IMAGE_OF_CAPTION)


def naive_recall(images, captions, image_of, k):
    def nearest(query, keys):
        return sorted(range(len(keys)), key=lambda j: -float(query @ keys[j]))[:k]

    described = [i for i in range(len(images)) if i in image_of]
    found = [any(image_of[j] == i for j in nearest(images[i], captions)) for i in described]
    told = [image_of[j] in nearest(captions[j], images) for j in range(len(captions))]
    return np.mean(found), np.mean(told)


def test_recall_against_plain_loops():
    draw = np.random.default_rng(1)
    images = unit(draw.normal(size=(40, 8)))
    image_of = draw.permutation(np.repeat(np.arange(39), 3))  # the last image has no caption
    captions = unit(images[image_of] + draw.normal(0, 0.5, (len(image_of), 8)))
    recalls = retrieval_recall(images, captions, image_of, at=(1, 3))
    for k in (1, 3):
        naive = naive_recall(images, captions, image_of.tolist(), k)
        assert (recalls[f"image_to_text_r{k}"], recalls[f"text_to_image_r{k}"]) == pytest.approx(naive)
    assert 0.1 < recalls["image_to_text_r1"] < recalls["image_to_text_r3"] < 1


def test_recall_over_several_blocks():
    rows = unit(np.random.default_rng(2).normal(size=(1500, 16)))
    image_of = np.random.default_rng(3).permutation(1500)
    recalls = retrieval_recall(rows, rows[image_of], image_of)
    assert set(recalls.values()) == {1.0} and len(recalls) == 6
    wrong = retrieval_recall(rows, rows[image_of], np.roll(image_of, 1))
    assert wrong["image_to_text_r1"] < 0.1 and wrong["text_to_image_r1"] < 0.1


def test_a_collapsed_encoder_finds_nothing():
    same = unit(np.ones((30, 4)))
    assert set(retrieval_recall(same[:10], same, np.repeat(np.arange(10), 3), at=(1, 5)).values()) == {0.0}
