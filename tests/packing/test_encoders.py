"""Pretrained CLIPs in a pack are what they were, with their own activation, preprocessing and tokenizer."""

from clipknight.embedding.clip import load_clip
from clipknight.packing.encoders import write_pretrained

import clip_families
import numpy as np
import pytest
from PIL import Image

CAPTIONS = ["a red picture", "everything here is blue"]
PICTURE = Image.effect_mandelbrot((70, 50), (-2, -1.5, 1, 1.5), 20).convert("RGB")


def embedded(encoder):
    return encoder.encode_pixels(encoder.preprocess(PICTURE)[None]), encoder.encode_captions(CAPTIONS)


@pytest.mark.parametrize("name", ["ViT-B-32:openai", "RN50:openai", "ViT-B-16-SigLIP:webli"])
def test_it_embeds_bit_for_bit_as_by_its_name(tmp_path, name):
    (tmp_path / "hub").mkdir()
    with clip_families.at_hand(name, tmp_path / "hub"):
        expected = embedded(load_clip(name, "cpu", "fp32"))
        write_pretrained(name, tmp_path / "packed", half=False)
        packed = load_clip(str(tmp_path / "packed"), "cpu", "fp32")
    for own, again in zip(expected, embedded(packed), strict=True):
        np.testing.assert_array_equal(again, own)


def test_one_whose_text_tower_is_described_on_the_hub_is_refused(tmp_path):
    with pytest.raises(ValueError, match="has a text tower whose description is on the hub"):
        write_pretrained("lite0-minilm", tmp_path / "packed", half=False)
