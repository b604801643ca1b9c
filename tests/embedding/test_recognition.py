from clipknight.data.images import read_image
from clipknight.data.sample_photos import sample_photos
from clipknight.embedding.clip import load_clip
from clipknight.embedding.recognition import classifier, read_vocabulary, zero_shot

import numpy as np
import pytest
import torch


@pytest.fixture(scope="module")
def imagenet_tower():
    return load_clip("lite0-minilm", "cpu", "fp32", "pooled")


@pytest.mark.parametrize("photo, concept", [("coffee.png", "espresso"), ("chelsea.png", "Egyptian cat")])
def test_a_packaged_tower_names_what_a_photo_shows(imagenet_tower, photo, concept):
    known = classifier(imagenet_tower)
    pixels = imagenet_tower.preprocess(read_image(sample_photos()[f"scikit-image/{photo}"]))[None]
    probabilities = known.probabilities(imagenet_tower.encode_unscaled(pixels))
    assert probabilities.shape == (1, 1000) and probabilities.sum() == pytest.approx(1, abs=1e-5)
    assert known.concepts[int(probabilities.argmax())] == concept


def test_a_classifier_needs_an_encoder_that_has_one(tiny_clip):
    with pytest.raises(ValueError, match="has no classifier: name lite0-minilm.*or give --vocabulary"):
        classifier(load_clip(str(tiny_clip), "cpu", "fp32"))


def test_a_clip_tells_words_apart_as_open_clip_does(tiny_clip):
    encoder = load_clip(str(tiny_clip), "cpu", "fp32")
    pixels = torch.rand(3, 3, encoder.image_size, encoder.image_size, generator=torch.Generator().manual_seed(0))
    words = ["dog", "old boat", "sky"]
    with torch.inference_mode():
        texts = encoder.tokenizer([f"a picture of {word}" for word in words])
        logits = encoder.model.get_logits(pixels, texts)[0]
    found = zero_shot(encoder, words, "a picture of {}").probabilities(encoder.encode_unscaled(pixels))
    np.testing.assert_allclose(found, logits.softmax(dim=1), atol=1e-5)


def test_words_need_a_joint_space(imagenet_tower):
    with pytest.raises(ValueError, match="no joint space"):
        zero_shot(imagenet_tower, ["dog", "cat"], "{}")


def test_a_vocabulary_is_read_line_by_line(tmp_path):
    file = tmp_path / "words.txt"
    file.write_text("dog\n\n old   boat \ndog\n", encoding="utf-8")
    assert read_vocabulary(file) == ["dog", "old boat"]
    file.write_text("dog\n", encoding="utf-8")
    with pytest.raises(ValueError, match="has 1 words"):
        read_vocabulary(file)
