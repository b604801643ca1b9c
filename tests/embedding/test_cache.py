import multiprocessing
import os
import shutil
import sys

from clipknight.data import images as data_images
from clipknight.data.datasets import listed_images, read_dataset
from clipknight.data.images import UnreadableImage, read_image
from clipknight.data.left_out import UnreadableMedia
from clipknight.embedding import image_encoding, subregions
from clipknight.embedding.cache import (
    caption_embeddings,
    image_embeddings,
    subregion_embeddings,
    target_embeddings,
    target_fingerprint,
)
from clipknight.embedding.cached_embeddings import cache_folder
from clipknight.embedding.clip import load_clip
from clipknight.embedding.image_encoding import encode_images
from clipknight.embedding.subregions import encode_subregions, subregion_features
from clipknight.embedding.target_encoder import load_target_encoder

import numpy as np
import pytest
import tiny_models
import torch
from PIL import Image


class Encoder:
    """Counts what the real encoder is asked for; `fail_after` raises in the midst of it."""

    def __init__(self, encoder, fail_after=10**9):
        self.inner, self.rows, self.fail_after = encoder, 0, fail_after

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def _count(self, rows):
        if self.rows + rows > self.fail_after:
            raise KeyboardInterrupt
        self.rows += rows

    def encode_pixels(self, pixels):
        self._count(len(pixels))
        return self.inner.encode_pixels(pixels)

    def encode_captions(self, captions):
        self._count(len(captions))
        return self.inner.encode_captions(captions)


@pytest.fixture(scope="module")
def clip(tiny_clip):
    return load_clip(str(tiny_clip), "cpu", "fp32")


@pytest.fixture(scope="module")
def dataset(coloured):
    return read_dataset(coloured)


@pytest.fixture
def own(coloured, tmp_path):
    """A copy of the data set to damage."""
    return shutil.copytree(coloured, tmp_path / "own")


def images(encoder, dataset, cache, **options):
    return image_embeddings(encoder, dataset, cache, **{"batch_size": 8, "workers": 0} | options)


def test_rows_are_the_encoders_own_by_id(clip, dataset, tmp_path):
    rows = images(clip, dataset, tmp_path)
    assert rows.ids.tolist() == dataset.ids.tolist() and rows.meta["fingerprint"] == clip.fingerprint("visual")
    one = clip.encode_pixels(clip.preprocess(read_image(dataset.images["path"][20]))[None])
    np.testing.assert_allclose(rows.vectors[20], one[0], atol=1e-6)
    assert isinstance(rows.vectors, np.memmap)


def test_workers_give_the_same_rows(clip, dataset, tmp_path):
    np.testing.assert_array_equal(
        images(clip, dataset, tmp_path / "0").vectors, images(clip, dataset, tmp_path / "2", workers=2).vectors
    )


def test_nothing_is_encoded_twice(clip, dataset, tmp_path):
    encoder = Encoder(clip)
    first = images(encoder, dataset, tmp_path)
    keys = caption_embeddings(encoder, dataset, tmp_path)
    assert encoder.rows == 38 + 190
    np.testing.assert_array_equal(images(encoder, dataset, tmp_path).vectors, first.vectors)
    np.testing.assert_array_equal(caption_embeddings(encoder, dataset, tmp_path).vectors, keys.vectors)
    assert encoder.rows == 38 + 190
    assert not list(tmp_path.rglob("*.partial"))


def test_pictures_that_are_decoded_smaller_are_encoded_anew(clip, dataset, tmp_path, monkeypatch):
    Image.new("RGB", (640, 480), "red").save(tmp_path / "photo.jpg")
    photo, encoder = listed_images({"photo": str(tmp_path / "photo.jpg")}), Encoder(clip)
    for _ in range(2):
        for of in (photo, dataset):
            images(encoder, of, tmp_path / "cache")
    assert encoder.rows == 1 + 38
    monkeypatch.setattr(data_images, "LARGE_FILE", 0)
    for of in (photo, dataset):
        images(encoder, of, tmp_path / "cache")
    assert encoder.rows == 2 + 38  # the dataset's are PNG


@pytest.mark.parametrize("encode, rows", [(images, 38), (caption_embeddings, 190)])
def test_an_interrupted_encoding_goes_on(clip, dataset, tmp_path, encode, rows):
    whole = encode(clip, dataset, tmp_path / "whole", batch_size=8)
    with pytest.raises(KeyboardInterrupt):
        encode(Encoder(clip, fail_after=20), dataset, tmp_path / "cut", batch_size=8)
    for file in (tmp_path / "cut").rglob("rows-*.f32"):
        assert file.stat().st_size == 16 * 16 * 4
        with open(file, "ab") as half_a_row:
            half_a_row.write(b"1234567")
    rest = Encoder(clip)
    resumed = encode(rest, dataset, tmp_path / "cut", batch_size=8)
    assert rest.rows == rows - 16
    np.testing.assert_array_equal(resumed.vectors, whole.vectors)
    assert resumed.ids.tolist() == whole.ids.tolist() and resumed.meta == whole.meta


@pytest.fixture
def unreadable(own):
    (own / "Images" / "train03.png").write_bytes(b"no picture")
    whole = (own / "Images" / "test01.png").read_bytes()
    (own / "Images" / "test01.png").write_bytes(whole[: len(whole) // 2])
    return read_dataset(own)


def test_unreadable_images_are_all_listed(clip, unreadable, tmp_path):
    for _ in range(2):  # the second time from the cache
        with pytest.raises(UnreadableMedia, match="2 unreadable images") as error:
            images(clip, unreadable, tmp_path / "cache")
        assert "train03.png: not an image" in str(error.value) and "test01.png: " in str(error.value)
        assert "--skip_unreadable" in str(error.value)
        assert sorted(os.path.basename(path) for path in error.value.reasons) == ["test01.png", "train03.png"]


def test_skipped_images_are_left_out_and_told(clip, unreadable, tmp_path, capsys, outputs):
    encoder = Encoder(clip)
    for _ in range(2):
        rows = images(encoder, unreadable, tmp_path / "cache", skip_unreadable=True)
        assert set(unreadable.ids) - set(rows.ids) == {"train03", "test01"} and len(rows) == 36
        assert np.isfinite(rows.vectors).all() and rows.meta["skipped"] == ["test01", "train03"]
    assert "left out: 2 unreadable images of own: test01.png, train03.png" in capsys.readouterr().out
    listed = (outputs / "left_out" / "own-unreadable.csv").read_text(encoding="utf-8")
    assert listed.startswith("path,reason\n") and 'train03.png,"not an image' in listed and listed.count("\n") == 3
    assert encoder.rows == 38
    with pytest.raises(KeyError, match="train03"):
        rows.aligned_to(unreadable.ids)


def test_who_does_not_skip_is_not_given_a_cache_with_rows_missing(clip, unreadable, tmp_path):
    images(clip, unreadable, tmp_path / "cache", skip_unreadable=True)
    with pytest.raises(UnreadableMedia, match="2 unreadable images"):
        images(clip, unreadable, tmp_path / "cache")


def test_many_unreadable_images_are_counted():
    message = str(UnreadableMedia({f"{i}.png": "broken" for i in range(25)}))
    assert message.startswith("25 unreadable images") and "and 22 more" in message and message.count("broken") == 3


@pytest.mark.parametrize("skip_unreadable", [False, True])
@pytest.mark.parametrize("skipped_before", [False, True])
def test_a_picture_that_can_be_read_again_is_read(
    clip, dataset, tmp_path, monkeypatch, skipped_before, skip_unreadable
):
    whole = images(clip, dataset, tmp_path / "whole").vectors
    broken = {path for path in dataset.images["path"] if path.endswith(("train03.png", "test01.png"))}

    def refuse(path, at_least=0):
        if path in broken:
            raise UnreadableImage(path, "Permission denied")
        return read_image(path)

    with monkeypatch.context() as patched:
        for module in (image_encoding, data_images):
            patched.setattr(module, "read_image", refuse)
        if skipped_before:
            assert len(images(clip, dataset, tmp_path / "cache", skip_unreadable=True)) == 36
        else:
            with pytest.raises(UnreadableMedia, match="2 unreadable images"):
                images(clip, dataset, tmp_path / "cache")
    encoder = Encoder(clip)
    rows = images(encoder, dataset, tmp_path / "cache", skip_unreadable=skip_unreadable)
    assert rows.ids.tolist() == dataset.ids.tolist() and "skipped" not in rows.meta
    np.testing.assert_array_equal(rows.vectors, whole)
    assert encoder.rows == 16  # of the two batches that hold them, not of all


@pytest.mark.skipif(sys.platform != "linux", reason="a copy of this process with all that it has loaded is Linux's")
def test_two_processes_that_encode_the_same_share_no_row(clip, dataset, tmp_path):
    whole = images(clip, dataset, tmp_path / "whole", batch_size=2)
    fork = multiprocessing.get_context("fork")
    both_are_there = fork.Barrier(2)

    def encode():
        both_are_there.wait(60)
        images(clip, dataset, tmp_path / "cache", batch_size=2)

    processes = [fork.Process(target=encode) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0]
    encoder = Encoder(clip)
    rows = images(encoder, dataset, tmp_path / "cache", batch_size=2)
    assert encoder.rows == 0
    np.testing.assert_allclose(rows.vectors, whole.vectors, atol=1e-6)


def test_a_changed_picture_is_encoded_anew(clip, own, tmp_path):
    before = images(clip, read_dataset(own), tmp_path / "cache")
    shutil.copy(own / "Images" / "train01.png", own / "Images" / "train00.png")
    encoder = Encoder(clip)
    after = images(encoder, read_dataset(own), tmp_path / "cache")
    assert encoder.rows == 38
    np.testing.assert_allclose(after.aligned_to(["train00"]).vectors, after.aligned_to(["train01"]).vectors, atol=1e-6)
    assert np.abs(before.aligned_to(["train00"]).vectors - after.aligned_to(["train00"]).vectors).max() > 1e-3


def test_a_changed_caption_or_encoder_is_encoded_anew(clip, own, tmp_path):
    caption_embeddings(clip, read_dataset(own), tmp_path / "cache")
    text = (own / "captions.txt").read_text(encoding="utf-8")
    (own / "captions.txt").write_text(
        text.replace("train00.png,a red picture", "train00.png,a red painting"), encoding="utf-8"
    )
    encoder = Encoder(clip)
    caption_embeddings(encoder, read_dataset(own), tmp_path / "cache")
    assert encoder.rows == 190
    other = Encoder(load_clip(str(tiny_models.write_clip(tmp_path / "tiny-clip", seed=9)), "cpu", "fp32"))
    caption_embeddings(other, read_dataset(own), tmp_path / "cache")
    assert other.rows == 190 and len(list((tmp_path / "cache" / "own").glob("[!.]*"))) == 3


def test_targets_are_the_target_encoders(tiny_target_encoder, dataset, tmp_path, monkeypatch):
    encoder = load_target_encoder(str(tiny_target_encoder), "cpu")
    targets = target_embeddings(encoder, dataset, tmp_path)
    assert targets.ids.tolist() == dataset.captions["caption_id"].tolist()
    caption = dataset.captions["caption"][77]
    expected = encoder.encode([caption], normalize_embeddings=True, show_progress_bar=False)
    np.testing.assert_allclose(targets.vectors[77], expected[0], atol=1e-5)
    assert targets.meta["fingerprint"] == target_fingerprint(encoder)
    monkeypatch.setattr(encoder, "encode", None)
    np.testing.assert_array_equal(target_embeddings(encoder, dataset, tmp_path).vectors, targets.vectors)
    with torch.no_grad():
        next(encoder.parameters())[0, 0] += 1
    assert targets.meta["fingerprint"] != target_fingerprint(encoder)


def test_targets_in_reduced_precision_have_a_place_of_their_own(tiny_target_encoder, dataset, tmp_path):
    encoder = load_target_encoder(str(tiny_target_encoder), "cpu")
    exact, reduced = (target_embeddings(encoder, dataset, tmp_path, precision=p) for p in ("fp32", "bf16"))
    assert reduced.meta["fingerprint"] == exact.meta["fingerprint"] + "-bfloat16"
    assert reduced.vectors.dtype == np.float32 and len(list((tmp_path / dataset.name).glob("[!.]*"))) == 2
    cosines = (exact.vectors * reduced.vectors).sum(axis=1)
    assert 0.999 < cosines.min() and not np.array_equal(exact.vectors, reduced.vectors)
    np.testing.assert_allclose(np.linalg.norm(reduced.vectors, axis=1), 1, atol=1e-6)  # not only near it
    np.testing.assert_array_equal(target_embeddings(encoder, dataset, tmp_path).vectors, exact.vectors)


def test_not_one_image_can_be_read(clip, own, tmp_path):
    for path in (own / "Images").iterdir():
        path.write_bytes(b"no picture")
    with pytest.raises(UnreadableMedia, match="38 unreadable images"):
        images(clip, read_dataset(own), tmp_path / "cache", skip_unreadable=True)


def test_encoding_without_a_cache(clip, dataset, unreadable, tmp_path):
    paths = dataset.images["path"].tolist()
    cached = images(clip, dataset, tmp_path)
    np.testing.assert_array_equal(encode_images(clip, paths, batch_size=8, workers=0), cached.vectors)
    with pytest.raises(UnreadableMedia, match="2 unreadable"):
        encode_images(clip, unreadable.images["path"].tolist(), workers=0)


def test_nothing_to_encode(clip, dataset, tmp_path):
    with pytest.raises(ValueError, match="nothing to encode"):
        images(clip, dataset.split(""), tmp_path)


def test_the_cache_is_in_outputs_by_default(outputs, dataset):
    assert cache_folder(dataset) == outputs / "embeddings" / dataset.name


# Sub-regions


def test_sub_regions_lie_beside_the_image_embedding(coloured, tiny_clip, tmp_path):
    encoder, valid = load_clip(str(tiny_clip), "cpu", "fp32"), read_dataset(coloured).split("valid")
    rows = subregion_embeddings(encoder, valid, 3, tmp_path, workers=0)
    found = encode_subregions(encoder, valid.images["path"].tolist(), 3)
    assert rows.vectors.shape == (8, 16) and rows.dim == 16 and rows.ids.tolist() == valid.ids.tolist()
    np.testing.assert_allclose(rows.vectors, found.whole, atol=1e-6)
    np.testing.assert_allclose(rows.regions, found.regions, atol=1e-6)
    np.testing.assert_allclose(rows.vectors, image_embeddings(encoder, valid, tmp_path, workers=0).vectors, atol=1e-6)


def test_sub_regions_are_kept_by_encoder_and_number(coloured, tiny_clip, tmp_path, monkeypatch):
    encoder, valid = load_clip(str(tiny_clip), "cpu", "fp32"), read_dataset(coloured).split("valid")
    first = subregion_embeddings(encoder, valid, 3, tmp_path, workers=0)
    with monkeypatch.context() as patched:
        patched.setattr(subregions, "subregion_features", None)
        again = subregion_embeddings(encoder, valid, 3, tmp_path, workers=0)
    np.testing.assert_array_equal(first.regions, again.regions)
    assert subregion_embeddings(encoder, valid, 2, tmp_path, workers=0).regions.shape == (8, 2, 16)
    other = load_clip(str(tiny_models.write_clip(tmp_path / "other", seed=1)), "cpu", "fp32")
    assert not np.allclose(subregion_embeddings(other, valid, 3, tmp_path, workers=0).regions, first.regions, atol=0.1)
    assert len(list((tmp_path / valid.name).glob("subregions*"))) == 3


def test_a_broken_off_reading_of_sub_regions_goes_on(coloured, tiny_clip, tmp_path, monkeypatch):
    encoder, valid = load_clip(str(tiny_clip), "cpu", "fp32"), read_dataset(coloured).split("valid")
    whole, read, features = subregion_embeddings(encoder, valid, 3, tmp_path / "a", 3, 0), [], subregion_features

    def stop_at_the_third(*args):
        read.append(args)
        if len(read) == 3:
            raise KeyboardInterrupt
        return features(*args)

    monkeypatch.setattr(subregions, "subregion_features", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        subregion_embeddings(encoder, valid, 3, tmp_path / "b", 3, 0)
    rows = subregion_embeddings(encoder, valid, 3, tmp_path / "b", 3, 0)
    assert len(read) == 4  # of three batches, the third twice
    np.testing.assert_array_equal(rows.regions, whole.regions)


def test_images_whose_sub_regions_cannot_be_read(coloured, tiny_clip, tmp_path):
    own = shutil.copytree(coloured, tmp_path / "damaged")
    (own / "Images" / "dev01.png").write_bytes(b"no picture")
    encoder, valid = load_clip(str(tiny_clip), "cpu", "fp32"), read_dataset(own).split("valid")
    with pytest.raises(UnreadableMedia, match="dev01.png: not an image"):
        subregion_embeddings(encoder, valid, 3, tmp_path, workers=0)
    rows = subregion_embeddings(encoder, valid, 3, tmp_path, workers=0, skip_unreadable=True)
    assert rows.ids.tolist() == [i for i in valid.ids if i != "dev01"] and len(rows.regions) == 7
