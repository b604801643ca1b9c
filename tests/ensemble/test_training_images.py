from clipknight.data.datasets import read_dataset
from clipknight.data.images import read_image
from clipknight.embedding.clip import load_clip
from clipknight.ensemble.training_images import BatchMixing, EpochBatches, TrainingImages, training_transform

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


def test_every_epoch_has_its_own_order_of_all_rows():
    batches = EpochBatches(10, 3, seed=0)
    seen = []
    for epoch in (0, 1, 0):
        batches.set_position(epoch, 0)
        epoch_batches = list(batches)
        assert [len(b) for b in epoch_batches] == [3, 3, 3] and len(batches) == 3
        assert {e for b in epoch_batches for e, _ in b} == {epoch}
        seen.append([row for b in epoch_batches for _, row in b])
        assert len(set(seen[-1])) == 9
    assert seen[0] == seen[2] != seen[1]
    assert list(EpochBatches(10, 3, seed=1)) != list(EpochBatches(10, 3, seed=0))


@pytest.mark.parametrize("batch", [0, 1, 3])
def test_going_on_within_an_epoch(batch):
    whole, resumed = EpochBatches(10, 3, seed=0), EpochBatches(10, 3, seed=0)
    whole.set_position(4, 0)
    resumed.set_position(4, batch)
    assert list(resumed) == list(whole)[batch:] and len(resumed) == 3 - batch


def test_a_batch_larger_than_the_data_is_refused():
    with pytest.raises(ValueError, match="batch of 64 does not fit 24 training rows: lower --batch_size"):
        EpochBatches(24, 64, seed=0)


def mixed(mixup, cutmix, seed=0):
    """Images of one colour each, 0 to 5, whose targets are one-hot."""
    torch.manual_seed(seed)
    pixels = torch.arange(6.0)[:, None, None, None].expand(6, 3, 16, 16).clone()
    return BatchMixing(mixup, cutmix, 6)(pixels, torch.eye(6))


@pytest.mark.parametrize("alphas", [(1, 0), (0, 1)])
def test_targets_are_mixed_in_the_shares_of_the_pixels(alphas):
    for seed in range(5):
        pixels, targets = mixed(*alphas, seed)
        torch.testing.assert_close(targets.sum(dim=1), torch.ones(6))
        torch.testing.assert_close(pixels.mean(dim=(1, 2, 3)), targets @ torch.arange(6.0))
        assert ((targets > 0).sum(dim=1) <= 2).all()


def test_mixup_mixes_all_pixels_and_cutmix_a_rectangle():
    def colours(image):
        return len(image.unique())

    assert {colours(image) for image in mixed(1, 0)[0]} == {1}
    assert {colours(image) for image in mixed(0, 1)[0]} == {2}
    kinds = {colours(mixed(1, 1, seed)[0][3]) for seed in range(20)}
    assert kinds == {1, 2}


def test_mixing_follows_torchs_seed_and_is_off_without_alphas():
    assert torch.equal(mixed(1, 1, 3)[0], mixed(1, 1, 3)[0])
    assert not torch.equal(mixed(1, 0, 3)[0], mixed(1, 0, 4)[0])
    pixels, targets = mixed(0, 0)
    assert torch.equal(targets, torch.eye(6)) and pixels[4].unique() == 4
    with pytest.raises(ValueError, match="--mixup -0.1 --cutmix 0: give 0 for none"):
        BatchMixing(-0.1, 0, 6)
