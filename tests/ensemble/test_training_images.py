from types import SimpleNamespace

from clipknight.data.datasets import read_dataset
from clipknight.data.images import read_image
from clipknight.embedding.clip import load_clip
from clipknight.ensemble.training_images import TrainingImages, training_images, training_transform
from clipknight.training.batches import EpochBatches

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader


@pytest.fixture(scope="module")
def encoder(tiny_clip):
    return load_clip(str(tiny_clip), "cpu", "fp32")


@pytest.fixture(scope="module")
def paths(coloured):
    return read_dataset(coloured).images["path"].tolist()


@pytest.fixture
def steps(tmp_path):
    """A picture of 48 x 32 with an edge in every part."""
    draw = np.random.default_rng(0).integers(0, 255, (4, 6, 3), dtype=np.uint8)
    Image.fromarray(draw.repeat(8, 0).repeat(8, 1)).save(tmp_path / "steps.png")
    return str(tmp_path / "steps.png")


def epoch_of(images, batches, workers):
    """{row: pixels} of one pass through a loader."""
    loader = DataLoader(images, batch_sampler=batches, num_workers=workers)
    return {int(row): p for pixels, rows in loader for p, row in zip(pixels, rows, strict=True)}


def test_pixels_depend_on_seed_epoch_and_row_alone(encoder, paths):
    def images(seed=5):
        return TrainingImages(paths, training_transform(encoder, rotation=20, flip=True, crop=0.5), seed)

    whole = epoch_of(images(), EpochBatches(len(paths), 2, seed=0), workers=2)
    other_order = epoch_of(images(), EpochBatches(len(paths), 7, seed=1), workers=0)
    assert len(other_order) == 35
    for row, pixels in other_order.items():
        assert torch.equal(pixels, whole[row])
    alone = images()
    assert torch.equal(alone[0, 30][0], whole[30])
    assert not torch.equal(alone[1, 30][0], whole[30])
    assert not torch.equal(images(seed=6)[0, 30][0], whole[30])
    twice = TrainingImages([paths[30]] * 2, training_transform(encoder, 20, True, 0.5), 5)
    assert not torch.equal(twice[0, 0][0], twice[0, 1][0])


@pytest.mark.parametrize("size", [(32, 32), (48, 32), (32, 56)])
def test_with_all_switches_off_it_is_the_encoders_own_preprocessing(encoder, tmp_path, size):
    draw = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(draw).save(tmp_path / "a.png")
    images = TrainingImages([str(tmp_path / "a.png")], training_transform(encoder, 0, False, 1), seed=0)
    pixels, row = images[3, 0]
    assert row == 0 and pixels.dtype == torch.float32
    torch.testing.assert_close(pixels, encoder.preprocess(read_image(tmp_path / "a.png")), atol=1e-5, rtol=0)


def test_resizing_is_close_to_the_encoders_own(encoder, tmp_path):
    ramp = np.linspace(0, 255, 90).astype(np.uint8)
    Image.fromarray(np.stack([np.tile(ramp, (60, 1))] * 3, 2)).save(tmp_path / "a.png")
    pixels, _ = TrainingImages([str(tmp_path / "a.png")], training_transform(encoder, 0, False, 1), seed=0)[0, 0]
    torch.testing.assert_close(pixels, encoder.preprocess(read_image(tmp_path / "a.png")), atol=0.05, rtol=0)


@pytest.mark.parametrize("crop", [0.08, 0.6, 1.0])
def test_the_smallest_crop_of_a_picture_that_was_decoded_smaller_is_shrunk_still(encoder, coloured, crop):
    switches = {"rotation": 0, "flip": False, "crop": crop, "seed": 0, "batch_size": 8, "epochs": 1, "workers": 0}
    images = training_images(encoder, read_dataset(coloured), SimpleNamespace(**switches)).dataset
    narrowest = (crop * images.at_least**2 / 1.18) ** 0.5
    assert 1.8 * encoder.image_size < narrowest < 2 * encoder.image_size + 2


def variants(encoder, path, **switches):
    transform = training_transform(encoder, **{"rotation": 0, "flip": False, "crop": 1} | switches)
    images = TrainingImages([path], transform, seed=0)
    return {images[epoch, 0][0].numpy().tobytes(): images[epoch, 0][0] for epoch in range(12)}


def test_each_switch_does_its_part(encoder, steps):
    (plain,) = variants(encoder, steps).values()
    assert plain.shape == (3, 32, 32)
    mirrored = list(variants(encoder, steps, flip=True).values())
    assert len(mirrored) == 2 and torch.equal(mirrored[0], mirrored[1].flip(2))
    assert len(variants(encoder, steps, crop=0.5)) == 12
    assert len(variants(encoder, steps, rotation=30)) > 3  # half of them are turned


def test_pixels_are_scaled_as_the_encoder_asks(encoder, tmp_path):
    Image.new("RGB", (40, 40), (255, 0, 255)).save(tmp_path / "a.png")
    pixels = TrainingImages([str(tmp_path / "a.png")], training_transform(encoder, 10, True, 0.5), 0)[0, 0][0]
    np.testing.assert_allclose(pixels.mean((1, 2)), [1, -1, 1], atol=1e-5)


def test_the_middle_of_a_strip_is_learned_from(encoder, tmp_path):
    """Resizing all of it would take gigabytes."""
    Image.new("RGB", (1, 60000), "red").save(tmp_path / "strip.png")
    transform, shapes = training_transform(encoder, 20, False, 1), []
    images = TrainingImages([str(tmp_path / "strip.png")], transform, 0)
    call = type(transform).__call__
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(
            type(transform), "__call__", lambda t, image: shapes.append(image.shape) or call(t, image=image)
        )
        pixels, _ = images[0, 0]
    assert shapes[0] == (12, 1, 3) and pixels.shape == (3, 32, 32)
