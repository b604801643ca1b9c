from clipknight.data.images import read_image
from clipknight.data.sample_photos import sample_photos
from clipknight.embedding.clip import load_clip, load_image_encoder
from clipknight.embedding.recognition import classifier
from clipknight.embedding.timm_classifier import write_timm

import numpy as np
import pytest
import timm
import torch
from timm.data import create_transform, resolve_model_data_config
from timm.models import save_for_hf

NAMES = ["cat, felid", "cup", "rocket"]


@pytest.fixture(scope="module", params=["test_resnet", "test_vit"])
def folder(request, tmp_path_factory):
    torch.manual_seed(0)
    place = tmp_path_factory.mktemp(request.param) / "model"
    model = timm.create_model(request.param, num_classes=3)
    save_for_hf(model, place, model_config={"num_classes": 3, "label_names": NAMES}, safe_serialization=True)
    return place


def photo():
    return read_image(sample_photos()["scikit-image/coffee.png"])


def probabilities(encoder, labels=()):
    return classifier(encoder, labels).probabilities(encoder.encode_unscaled(encoder.preprocess(photo())[None]))


def test_it_says_what_timms_model_says(folder):
    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    transform = create_transform(**resolve_model_data_config(model), is_training=False)
    with torch.inference_mode():
        expected = model(transform(photo().convert("RGB"))[None]).softmax(dim=1)
    encoder = load_image_encoder(str(folder), "cpu", "fp32")
    np.testing.assert_allclose(probabilities(encoder), expected, atol=1e-5)
    assert list(classifier(encoder).concepts) == ["cat", "cup", "rocket"]


def test_another_size(folder):
    encoder = load_image_encoder(str(folder), "cpu", "fp32")
    larger = load_image_encoder(f"{folder}@192", "cpu", "fp32")
    assert larger.preprocess(photo()).shape == (3, 192, 192) and larger.image_size == 192 != encoder.image_size
    assert np.abs(probabilities(larger) - probabilities(encoder)).max() > 1e-6
    assert larger.fingerprint("visual") != encoder.fingerprint("visual")


def test_names_of_ones_own(folder):
    encoder = load_image_encoder(str(folder), "cpu", "fp32")
    assert list(classifier(encoder, ["a", "b", "c"]).concepts) == ["a", "b", "c"]
    with pytest.raises(ValueError, match="tells 3 classes apart, and 2 names are given: .*by --vocabulary LABELS.txt"):
        classifier(encoder, ["a", "b"])


def test_classes_without_names(tmp_path):
    save_for_hf(timm.create_model("test_resnet", num_classes=5), tmp_path / "m", safe_serialization=True)
    with pytest.raises(ValueError, match="5 classes apart, and names for none of them are known"):
        classifier(load_image_encoder(str(tmp_path / "m"), "cpu", "fp32"))


def test_it_is_no_clip(folder):
    with pytest.raises(ValueError, match="is a classifier of images, without a text tower: recognise.py takes it"):
        load_clip(str(folder), "cpu")


def test_a_name_that_timm_has_not():
    with pytest.raises(
        ValueError, match="timm has no weights called 'resnet5O.a1_in1k'. Near ones: .*resnet50.a1_in1k"
    ):
        load_image_encoder("timm:resnet5O.a1_in1k", "cpu")


def test_a_copy_says_the_same(folder, tmp_path):
    encoder = load_image_encoder(str(folder), "cpu", "fp32")
    for half, tolerance in ((False, 0), (True, 2e-3)):
        write_timm(encoder, tmp_path / str(half), half)
        copied = load_image_encoder(str(tmp_path / str(half)), "cpu", "fp32")
        np.testing.assert_allclose(probabilities(copied), probabilities(encoder), atol=tolerance)
        assert classifier(copied).concepts == classifier(encoder).concepts
