"""A saved decoder opened without transformers, to say captions and nothing else."""

from dataclasses import dataclass, fields
from pathlib import Path

from clipknight.captioning.gpt2 import GPT2, GPT2Sizes
from clipknight.saved_files import load_weights, read_description, read_tensors

from tokenizers import Tokenizer, decoders, models
from torch import Tensor

ASSUMED = {
    "model_type": "gpt2",
    "activation_function": "gelu_new",
    "add_cross_attention": False,
    "reorder_and_upcast_attn": False,
    "scale_attn_by_inverse_layer_idx": False,
    "scale_attn_weights": True,
    "tie_word_embeddings": True,
    "quantization_config": None,
}  # in config.json, where it has them


@dataclass(frozen=True)
class CaptionTokenizer:
    """As much of transformers' tokenizers as captions take."""

    tokens: Tokenizer
    eos_token_id: int

    def batch_decode(self, ids: Tensor, skip_special_tokens: bool) -> list[str]:
        return self.tokens.decode_batch(ids.tolist(), skip_special_tokens)


def load_plain_decoder(folder: Path) -> tuple[GPT2, CaptionTokenizer] | None:
    """None where it is no plain GPT-2, and where files are not whole: transformers says what is wrong with them."""
    try:
        return _plain_gpt2(folder), _byte_level_bpe(folder)
    except Exception:  # tokenizers raise nothing narrower
        return None


def _plain_gpt2(folder: Path) -> GPT2:
    config = read_description(folder / "config.json", "")
    searched_otherwise = not read_description(folder / "generation_config.json", "")["_from_model_config"]
    if searched_otherwise or any(config.get(name, usual) != usual for name, usual in ASSUMED.items()):
        raise ValueError(f"{folder} is no plain GPT-2")
    model = GPT2(GPT2Sizes(**{field.name: config[field.name] for field in fields(GPT2Sizes) if field.name in config}))
    file = folder / "model.safetensors"
    load_weights(model, {name: tensor.float() for name, tensor in read_tensors(file, "").items()}, file, "")
    return model


def _byte_level_bpe(folder: Path) -> CaptionTokenizer:
    """Of another kind, transformers may tidy texts up."""
    tokens, end = Tokenizer.from_file(str(folder / "tokenizer.json")), None
    end = tokens.token_to_id(read_description(folder / "tokenizer_config.json", "")["eos_token"])
    kinds = type(tokens.model), type(tokens.decoder)
    if kinds != (models.BPE, decoders.ByteLevel) or not tokens.get_added_tokens_decoder()[end].special:
        raise ValueError(f"{folder} has no byte-level BPE")
    return CaptionTokenizer(tokens, end)
