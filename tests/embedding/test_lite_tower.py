"""The towers that load without timm and open_clip are theirs, bit by bit."""

import subprocess
import sys
from dataclasses import replace

from clipknight.embedding.clip import load_clip, load_image_encoder
from clipknight.embedding.settings import OFFLINE
from clipknight.paths import ROOT

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

SIZES = [(70, 50), (64, 64), (50, 333), (1, 900), (65, 64), (1000, 777)]
HEAVY = {"open_clip", "sentence_transformers", "sklearn", "timm", "torchvision", "transformers"}


@pytest.fixture(scope="module")
def whole():
    return load_clip(f"{OFFLINE}@64", "cpu", "fp32")


@pytest.fixture(scope="module")
def alone():
    return load_image_encoder(f"{OFFLINE}@64", "cpu", "fp32")


def pixels_of(encoder, side=64):
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(side))


def test_it_embeds_as_timm_does(whole, alone):
    for side in (64, 75, 90):
        pixels = pixels_of(alone, side)
        np.testing.assert_array_equal(alone.encode_pixels(pixels), whole.encode_pixels(pixels))
        np.testing.assert_array_equal(alone.encode_unscaled(pixels), whole.encode_unscaled(pixels))
    projected = [replace(encoder, projected=True).encode_pixels(pixels) for encoder in (alone, whole)]
    assert projected[0].shape == (2, 384)
    np.testing.assert_array_equal(*projected)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_it_sees_the_pixels_that_torchvision_makes(whole, alone, size):
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    assert torch.equal(alone.preprocess(Image.fromarray(noise)), whole.preprocess(Image.fromarray(noise)))
    grey = Image.fromarray(noise[..., 0])
    assert torch.equal(alone.preprocess(grey), whole.preprocess(grey))


@pytest.mark.parametrize("name", ["lite0-minilm@32", "lite1-minilm@32", f"{OFFLINE}@64"])
def test_it_has_the_same_fingerprint(name):
    """Which holds the untrained projection: what one has encoded is there for the other."""
    torch.manual_seed(7)
    before = torch.get_rng_state()
    alone = load_image_encoder(name, "cpu", "fp32")
    assert torch.equal(torch.get_rng_state(), before)
    assert alone.fingerprint("visual") == load_clip(name, "cpu", "fp32").fingerprint("visual")
    assert (alone.name, alone.root, alone.joint, alone.projected) == (name, name, False, False)


def test_it_knows_no_captions(alone):
    with pytest.raises(ValueError, match="'lite2-minilm@64' was loaded for images alone"):
        alone.fingerprint("text")


@pytest.fixture
def adapted(whole, tmp_path):
    """The folder of an encoder whose tower and projection learnt."""
    learnt = load_clip(f"{OFFLINE}@64", "cpu", "fp32")
    with torch.no_grad():
        for parameter in learnt.visual.parameters():
            parameter += 0.01 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    replace(learnt, joint=True, projected=True).save(tmp_path / "run")
    return tmp_path / "run"


def test_one_that_was_adapted_loads_the_same_way(adapted):
    whole, alone = (load(f"{adapted}@48", "cpu", "fp32") for load in (load_clip, load_image_encoder))
    assert not hasattr(alone, "tokenizer") and (alone.joint, alone.projected, alone.image_size) == (True, True, 48)
    assert (alone.name, alone.root) == (whole.name, whole.root)
    assert alone.fingerprint("visual") == whole.fingerprint("visual")
    np.testing.assert_array_equal(alone.encode_pixels(pixels_of(alone)), whole.encode_pixels(pixels_of(alone)))


def test_a_weight_that_is_missing_is_refused(adapted):
    """For in its place stands chance."""
    weights = load_file(adapted / "encoder.safetensors")
    del weights["visual.trunk.blocks.2.1.bn2.running_var"]
    save_file(weights, adapted / "encoder.safetensors")
    with pytest.raises(ValueError, match="1 weights of lite2-minilm@64 are missing: visual.trunk.blocks.2.1.bn2"):
        load_image_encoder(str(adapted), "cpu", "fp32")


def test_other_encoders_load_whole(tiny_clip):
    encoder = load_image_encoder(str(tiny_clip), "cpu", "fp32")
    assert encoder.encode_captions(["a cat"]).shape == (1, 16)
    assert encoder.fingerprint("visual") == load_clip(str(tiny_clip), "cpu", "fp32").fingerprint("visual")


@pytest.mark.slow
def test_what_predicts_takes_no_library_that_only_training_needs():
    parts = "concepts", "gate", "model_a", "model_b", "refined"
    code = f"import {', '.join(f'clipknight.ensemble.{part}' for part in parts)}; import sys; print(*sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT / "src", capture_output=True, text=True, check=True)
    assert HEAVY.intersection(ended.stdout.split()) == set()
