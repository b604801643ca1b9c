import json
import shutil

from clipknight.captioning.decoders import load_decoder
from clipknight.captioning.decoding import Decoder
from clipknight.captioning.gpt2 import GPT2
from clipknight.captioning.knight import Knight, load_knight, save_knight
from clipknight.captioning.plain_decoder import CaptionTokenizer, load_plain_decoder

import numpy as np
import pytest
import tiny_models
import torch


@pytest.fixture(scope="module")
def saved(made_once, tmp_path_factory):
    """A Knight before a GPT-2. Not to be written to."""
    torch.manual_seed(1)
    folder = made_once("gpt2", lambda folder: tiny_models.write_language_model(folder, "gpt2"))
    decoder, tokenizer = load_decoder(str(folder))
    best = tmp_path_factory.mktemp("knight") / "best"
    save_knight(Knight(decoder, dim=8), tokenizer, {}, best)
    return best


@pytest.fixture
def own(saved, tmp_path):
    """A copy of the decoder's folder to change."""
    return shutil.copytree(saved / "decoder", tmp_path / "decoder")


@pytest.mark.parametrize("half", [False, True])
def test_captions_are_those_by_transformers(saved, tmp_path, half):
    prefixes, texts = np.random.default_rng(0).standard_normal((7, 3, 8)), []
    model, tokenizer, description = load_knight(saved)
    save_knight(model, tokenizer, description, tmp_path / "best", half)
    for by_transformers in (False, True):
        model, tokenizer, _ = load_knight(tmp_path / "best", by_transformers)
        assert isinstance(model.decoder, GPT2) and isinstance(tokenizer, CaptionTokenizer) or by_transformers
        texts.append(Decoder(model, tokenizer, batch_size=3).captions(prefixes, 4, 12, 2))
    assert texts[0] == texts[1] and len(set(texts[0])) > 3


def change(file, **values):
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | values), encoding="utf-8")


@pytest.mark.parametrize(
    "file, changed",
    [
        ("config.json", {"activation_function": "relu"}),
        ("config.json", {"scale_attn_by_inverse_layer_idx": True}),
        ("config.json", {"add_cross_attention": True}),
        ("config.json", {"model_type": "gpt_neo"}),
        ("config.json", {"n_layer": 2}),
        ("config.json", {"n_embd": "32"}),
        ("generation_config.json", {"_from_model_config": False, "repetition_penalty": 1.3}),
        ("tokenizer_config.json", {"eos_token": "no such token"}),
        ("tokenizer_config.json", {"eos_token": "a"}),
    ],
)
def test_what_is_assumed_of_none_else(own, file, changed):
    assert load_plain_decoder(own) is not None
    change(own / file, **changed)
    assert load_plain_decoder(own) is None
