"""Each family of open_clip's models gives what open_clip itself gives: alone, in a batch, resized, saved and loaded."""

import json
from dataclasses import replace

from clipknight.embedding.clip import load_clip

import clip_families
import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from torch import nn

PICTURES = [Image.effect_mandelbrot((70, 50), (x, -1.5, 1, 1.5), 20).convert("RGB") for x in (-2, -1)]
CAPTIONS = ["a cat", "Two  dogs &amp; a red\tcat, seen from above", "a red picture"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("families")


@pytest.fixture(params=clip_families.FAMILIES)
def family(request, folder):
    with clip_families.at_hand(request.param, folder):
        yield request.param


@torch.inference_mode()
def theirs(name, size=None):
    """open_clip's image and caption embeddings."""
    model, preprocess, tokenizer = clip_families.reference(name, size)
    pixels = torch.stack([preprocess(picture) for picture in PICTURES])
    images = model.encode_image(pixels, normalize=True)
    return images.numpy(), model.encode_text(tokenizer(CAPTIONS), normalize=True).numpy()


def ours(encoder, pictures=PICTURES, captions=CAPTIONS):
    pixels = torch.stack([encoder.preprocess(picture) for picture in pictures])
    return encoder.encode_pixels(pixels), encoder.encode_captions(captions)


def assert_same(found, expected):
    for rows, others in zip(found, expected, strict=True):
        np.testing.assert_allclose(rows, others, atol=1e-5)


def test_its_embeddings_are_open_clips(family, tmp_path):
    encoder, expected = load_clip(family, "cpu", "fp32"), theirs(family)
    assert encoder.joint and np.abs(expected[0][0] - expected[0][1]).max() > 1e-3
    assert_same(ours(encoder), expected)
    alone = [ours(encoder, [PICTURES[0]], [caption]) for caption in CAPTIONS]
    assert_same((alone[0][0], np.vstack([captions for _, captions in alone])), (expected[0][:1], expected[1]))
    replace(encoder, locked_text=False).save(tmp_path / "saved")
    saved = load_clip(str(tmp_path / "saved"), "cpu", "fp32")
    assert_same(ours(saved), expected)
    assert [saved.fingerprint(tower) for tower in ("visual", "text")] == [
        encoder.fingerprint(tower) for tower in ("visual", "text")
    ]


def test_at_another_size_too(family, tmp_path):
    own = load_clip(family, "cpu", "fp32")
    size = own.image_size + 32
    expected = theirs(family, size)
    resized = load_clip(f"{family}@{size}", "cpu", "fp32")
    assert_same(ours(resized), expected)
    assert_same(ours(own.at_size(size)), expected)
    resized.save(tmp_path / "saved")
    assert_same(ours(load_clip(str(tmp_path / "saved"), "cpu", "fp32")), expected)
    assert_same(ours(own), theirs(family))


def test_a_copy_at_another_size_shares_the_weights(family):
    own = load_clip(family, "cpu", "fp32")
    weights = {tensor.data_ptr() for tensor in own.model.parameters()}
    new = sum(t.numel() for t in own.at_size(own.image_size + 32).model.parameters() if t.data_ptr() not in weights)
    assert new <= 13 * 13 * 64  # positions


def test_sizes_that_a_tower_cannot_take(folder):
    with (
        clip_families.at_hand("RN50:openai", folder),
        pytest.raises(ValueError, match="'RN50:openai': .*multiple of 32"),
    ):
        load_clip("RN50:openai@100", "cpu")
    for name in ("ViT-B-32:openai", "ViT-B-16-SigLIP:webli"):
        with clip_families.at_hand(name, folder), pytest.raises(ValueError, match="smaller than one patch: take"):
            load_clip(f"{name}@4", "cpu")


# Every name, as far as that can be told without its weights


class Recorded(nn.Module):
    """Stands for a model of open_clip: says what it would have been built with."""

    def __init__(self, embed_dim, vision_cfg, text_cfg, quick_gelu=False, cast_dtype=None, **others):
        super().__init__()
        self.quick_gelu, self.visual = quick_gelu, nn.Module()
        self.visual.image_size = vision_cfg.get("image_size", 224)


def test_every_name_has_the_activation_and_the_preprocessing_of_its_tag(monkeypatch):
    monkeypatch.setattr("clipknight.embedding.pretrained_clip.prepare_loading", lambda source: None)
    monkeypatch.setattr("clipknight.embedding.pretrained_clip.hf_hub_download", lambda *args: None)
    for made in ("CLIP", "CustomTextCLIP", "CoCa"):
        monkeypatch.setattr(f"open_clip.factory.{made}", Recorded)
    monkeypatch.setattr("open_clip.factory.download_pretrained", lambda cfg, **_: "weights")
    monkeypatch.setattr("open_clip.factory.load_checkpoint", lambda *args, **_: None)
    monkeypatch.setattr("open_clip.get_tokenizer", lambda name: name)
    quick = 0
    for architecture, tag in open_clip.list_pretrained():
        trained, encoder = open_clip.get_pretrained_cfg(architecture, tag), load_clip(f"{architecture}:{tag}", "cpu")
        cfg, size = (
            encoder.preprocess_cfg,
            open_clip.get_model_config(architecture)["vision_cfg"].get("image_size", 224),
        )
        assert encoder.model.quick_gelu == trained.get("quick_gelu", False), (architecture, tag)
        for key in ("mean", "std", "interpolation", "resize_mode"):
            assert getattr(cfg, key) == trained[key], (architecture, tag, key)
        size = open_clip.get_model_config(architecture)["vision_cfg"].get("image_size", 224)
        assert (cfg.size, encoder.tokenizer) == (size, architecture)
        quick += encoder.model.quick_gelu
    assert quick >= 40


# What was computed otherwise once


def test_a_corrected_activation_is_part_of_the_fingerprint(folder):
    def fingerprints(name, activation):
        encoder = replace(load_clip(name, "cpu", "fp32"), activation=activation)
        return [encoder.fingerprint(tower) for tower in ("visual", "text")]

    with clip_families.at_hand("ViT-B-32:openai", folder):
        assert load_clip("ViT-B-32:openai", "cpu").activation == "quick_gelu"
        right, wrong = fingerprints("ViT-B-32:openai", "quick_gelu"), fingerprints("ViT-B-32:openai", "")
        assert right[0] != wrong[0] and right[1] != wrong[1]
    with clip_families.at_hand("RN50:openai", folder):  # its image tower knows ReLU alone
        right, wrong = fingerprints("RN50:openai", "quick_gelu"), fingerprints("RN50:openai", "")
        assert right[0] == wrong[0] and right[1] != wrong[1]
    with clip_families.at_hand("ViT-B-32:laion2b_s34b_b79k", folder):
        assert load_clip("ViT-B-32:laion2b_s34b_b79k", "cpu").activation == ""


def test_a_run_of_before_keeps_the_activation_it_was_trained_with(folder, tmp_path):
    with clip_families.at_hand("ViT-B-32:openai", folder):
        encoder = load_clip("ViT-B-32:openai", "cpu", "fp32")
        encoder.save(tmp_path / "new")
        encoder.save(tmp_path / "old")
        file = tmp_path / "old" / "encoder.json"
        file.write_text(
            json.dumps({k: v for k, v in json.loads(file.read_text(encoding="utf-8")).items() if k != "activation"}),
            encoding="utf-8",
        )
        new, old = (load_clip(str(tmp_path / run), "cpu", "fp32") for run in ("new", "old"))
    gelus = [sum(isinstance(module, nn.GELU) for module in made.model.modules()) for made in (new, old)]
    assert gelus == [0, 4] and (new.activation, old.activation) == ("quick_gelu", "")
    assert_same(ours(new), ours(encoder))


def test_the_packaged_encoders_are_what_they_were():
    """Version 0.3.0's, so that its caches and its Model B go on."""
    encoder = load_clip("lite0-minilm@64", "cpu", "fp32")
    assert [encoder.fingerprint(tower) for tower in ("visual", "text")] == ["b122d86fa6cac654", "f738b9d06569ed61"]
    assert_same(
        [encoder.encode_captions(["Two  dogs &amp; a cat"])], [encoder.encode_captions(["two dogs & amp; a cat"])]
    )


@pytest.mark.parametrize("family", ["coca_ViT-B-32:laion2b_s13b_b90k", "MobileCLIP-S1:datacompdr"], indirect=True)
def test_it_can_be_fine_tuned(family, coloured, colour_encoder):
    import train_a
    import train_clip

    shared = {"data": coloured, "encoder": family, "target_encoder": colour_encoder, "run": "families/tuned"}
    options = {"epochs": 1, "batch_size": 8, "device": "cpu", "precision": "fp32", "workers": 0}
    argv = [f"--{name}={value}" for name, value in {**shared, **options}.items()]
    assert 0 < train_a.main([*argv, "--head_epochs=1", "--overwrite"]) < 1
    assert 0 < train_clip.main([*argv, "--overwrite"])["mean_recall"] <= 1
