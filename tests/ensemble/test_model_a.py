from dataclasses import replace
from itertools import combinations

from clipknight.data.datasets import image_folder, read_dataset
from clipknight.embedding.clip import load_clip
from clipknight.embedding.embeddings import unit
from clipknight.ensemble.predictors import load_predictor
from clipknight.training.runs import Run
from train_a import main

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps


@pytest.fixture(scope="module")
def mirroring(coloured, tiny_clip, tiny_target_encoder):
    """A run that averages over mirror images."""
    named = {"data": coloured, "encoder": tiny_clip, "target_encoder": tiny_target_encoder, "run": "model_a/mirroring"}
    options = {"epochs": 0, "precision": "fp32", "device": "cpu", "workers": 0}
    main([*(f"--{name}={value}" for name, value in {**named, **options}.items()), "--flip_tta"])
    return Run.open("model_a/mirroring")


def lopsided(folder, mirrored=False):
    """Pictures that a mirror changes, under the same names in both folders."""
    draw = np.random.default_rng(0)
    folder.mkdir()
    for i in range(3):
        picture = Image.fromarray(draw.integers(0, 255, (32, 32, 3), dtype=np.uint8))
        (ImageOps.mirror(picture) if mirrored else picture).save(folder / f"{i}.png")
    return image_folder(folder)


def test_a_mirrored_encoder_sees_mirror_images_and_has_a_cache_of_its_own(tiny_clip):
    plain = load_clip(str(tiny_clip), "cpu", "fp32")
    mirrored = replace(plain, mirrored=True)
    pixels = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(mirrored.encode_pixels(pixels), plain.encode_pixels(pixels.flip(-1)), atol=1e-6)
    assert np.abs(mirrored.encode_pixels(pixels) - plain.encode_pixels(pixels)).max() > 0.01
    assert mirrored.fingerprint("visual") != plain.fingerprint("visual")
    assert mirrored.fingerprint("text") == plain.fingerprint("text")


@pytest.mark.parametrize("first", [True, False])  # whichever embeddings are cached first, each way finds its own
def test_the_mean_of_an_image_and_its_mirror_image(mirroring, tmp_path, first):
    images, mirror_images = lopsided(tmp_path / "images"), lopsided(tmp_path / "mirrored", mirrored=True)
    predictor = load_predictor(mirroring, "cpu")
    rows = {}
    for flip in (first, not first):
        predictor.flip_tta = flip
        rows[flip] = predictor.predict(images, workers=0).vectors
    predictor.flip_tta = False
    of_mirror = predictor.predict(mirror_images, workers=0).vectors
    np.testing.assert_allclose(rows[True], unit(rows[False] + of_mirror), atol=1e-5)
    assert np.abs(rows[True] - rows[False]).max() > 1e-3


def test_only_a_run_that_asks_for_it_predicts_so(mirroring, coloured):
    assert mirroring.settings["flip_tta"] and load_predictor(mirroring, "cpu").flip_tta
    valid = read_dataset(coloured).split("valid")
    again = load_predictor(mirroring, "cpu").predict(valid, workers=0)
    np.testing.assert_array_equal(again.vectors, mirroring.predictions("valid").vectors)
    (mirroring.folder / "settings.yaml").write_text(
        (mirroring.folder / "settings.yaml")
        .read_text(encoding="utf-8")
        .replace("flip_tta: true\n", ""),  # as runs of older versions
        encoding="utf-8",
    )
    assert not load_predictor(mirroring, "cpu").flip_tta


def test_the_mean_over_image_sizes_each_mirrored_too(mirroring, tmp_path):
    images = lopsided(tmp_path / "images")
    predictor = load_predictor(mirroring, "cpu")
    own = predictor.encoder
    seen = [own, own.at_size(48), own.at_size(64)]
    assert [encoder.image_size for encoder in seen] == [32, 48, 64]

    def told(encoder, flip=False, sizes=()) -> np.ndarray:
        predictor.encoder, predictor.flip_tta, predictor.tta_sizes = encoder, flip, sizes
        return predictor.predict(images, workers=0).vectors

    alone = [told(encoder) for encoder in seen]
    assert min(np.abs(a - b).max() for a, b in combinations(alone, 2)) > 1e-3
    np.testing.assert_allclose(told(own, sizes=[48, 64]), unit(sum(alone)), atol=1e-5)
    mirrored = [told(replace(encoder, mirrored=True)) for encoder in seen]
    np.testing.assert_allclose(told(own, flip=True, sizes=[48, 64]), unit(sum(alone + mirrored)), atol=1e-5)


def test_a_saved_tower_at_another_size_is_the_pretrained_one_at_it(mirroring, tiny_clip):
    saved = load_clip(str(mirroring.folder), "cpu", "fp32")  # its tower was not fine-tuned
    pixels = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    expected = load_clip(f"{tiny_clip}@64", "cpu", "fp32").encode_pixels(pixels)
    np.testing.assert_allclose(saved.at_size(64).encode_pixels(pixels), expected, atol=1e-5)


def test_a_size_at_which_nothing_is_seen_is_refused_before_training(coloured, tiny_clip):
    with pytest.raises(SystemExit, match="--tta_sizes 8 is no image size"):
        main([f"--data={coloured}", f"--encoder={tiny_clip}", "--run=model_a/never", "--tta_sizes", "64", "8"])
    assert not Run.at("model_a/never").exists
