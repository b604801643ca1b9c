"""open_clip's families of models at tiny size: its own configs with fewer layers, random weights, a small tokenizer."""

from contextlib import contextmanager
from copy import deepcopy
from functools import lru_cache, partial
from pathlib import Path

import open_clip
import pytest
import timm
import torch
import transformers
from open_clip import factory
from open_clip.pretrained import _PRETRAINED
from safetensors.torch import save_file
from torch.nn.functional import interpolate

# open_clip's name and tag: what timm calls the sizes of its image tower; the tokenizer and text tower of transformers.
FAMILIES = {
    "ViT-B-32:openai": {},
    "RN50:openai": {},
    "ViT-B-32:laion2b_s34b_b79k": {},
    "ViT-B-16-SigLIP:webli": {"timm": {"embed_dim": 32, "depth": 2, "num_heads": 2, "img_size": 32}, "words": "t5"},
    "ViT-B-16-SigLIP2:webli": {"timm": {"embed_dim": 32, "depth": 2, "num_heads": 2, "img_size": 32}, "words": "gemma"},
    "ViT-L-14-CLIPA:datacomp1b": {"words": "bert"},
    "coca_ViT-B-32:laion2b_s13b_b90k": {},
    "EVA02-B-16:merged2b_s8b_b131k": {"timm": {"embed_dim": 32, "depth": 2, "num_heads": 2, "img_size": 32}},
    "convnext_base_w:laion2b_s13b_b82k": {"timm": {"depths": (1, 1, 1, 1), "dims": (8, 8, 16, 32)}},
    "MobileCLIP-S1:datacompdr": {"timm": {"layers": (1, 1, 1, 1), "embed_dims": (16, 16, 32, 32)}},
    "PE-Core-B-16:meta": {"timm": {"embed_dim": 64, "depth": 2, "num_heads": 2, "img_size": 32}},
    "roberta-ViT-B-32:laion2b_s12b_b32k": {"words": "roberta", "text": "roberta"},
    "xlm-roberta-base-ViT-B-32:laion5b_s13b_b90k": {"words": "xlm-roberta", "text": "xlm-roberta"},
    "nllb-clip-base:v1": {"words": "nllb", "text": "m2m_100"},
    "nllb-clip-base-siglip:v1": {
        "timm": {"embed_dim": 32, "depth": 2, "num_heads": 2, "img_size": 32},
        "words": "nllb",
        "text": "m2m_100",
    },
    "ViT-H-14-worldwide:metaclip2_worldwide": {"words": "xlm-roberta"},
}
LETTERS = "abcdefghijklmnopqrstuvwxyz"
VOCABULARY = 160
WIDTH = 32


@contextmanager
def at_hand(name: str, folder: Path, width: int = WIDTH):
    """`name` is a tiny model of its family, with rows of `width` and weights in `folder`, while this lasts."""
    architecture, tag = name.split(":")
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(factory._MODEL_CONFIGS, architecture, {**shrunk(name, folder), "embed_dim": width})
        patched.setattr(factory, "SimpleTokenizer", _one_tokenizer)  # it takes a third of a second each time
        timm_sizes = FAMILIES[name].get("timm", {})
        patched.setattr("open_clip.timm_model.timm.create_model", partial(timm.create_model, **timm_sizes))
        file = folder / f"{architecture}.safetensors"
        patched.setitem(_PRETRAINED[architecture], tag, {**_PRETRAINED[architecture][tag], "hf_hub": "", "file": file})
        if not file.is_file():
            _write_random_weights(architecture, file)
        yield


def reference(name: str, size: int | None = None):
    """(model, preprocessing, tokenizer) that open_clip itself makes, told the activation of the tag."""
    architecture, tag = name.split(":")
    quick_gelu = bool(_PRETRAINED[architecture][tag].get("quick_gelu"))
    resnet = architecture.startswith("RN")  # which open_clip loads at its own size alone
    options = {"quick_gelu": quick_gelu, "force_image_size": None if resnet else size}
    model, _, preprocess = open_clip.create_model_and_transforms(architecture, tag, **options)
    if resnet and size:
        preprocess = open_clip.image_transform(size, False, model.visual.image_mean, model.visual.image_std)
        positions, side = model.visual.attnpool.positional_embedding.data, size // 32
        grid = positions[1:].T.unflatten(1, (model.visual.image_size // 32, -1))[None]
        grid = interpolate(grid, (side, side), mode="bicubic", antialias=True)[0].flatten(1).T
        model.visual.attnpool.positional_embedding.data = torch.cat([positions[:1], grid])
    return model.eval(), preprocess, open_clip.get_tokenizer(architecture)


def shrunk(name: str, folder: Path) -> dict:
    """open_clip's config of the architecture in few layers of few numbers."""
    cfg = deepcopy(factory._MODEL_CONFIGS[name.split(":")[0]])
    vision, text = cfg["vision_cfg"], cfg["text_cfg"]
    resnet = isinstance(vision.get("layers"), list)
    cfg["embed_dim"], vision["image_size"] = WIDTH, 64 if resnet else 32
    if resnet:
        vision |= {"layers": [1, 1, 1, 1], "width": 8}
    elif "timm_model_name" not in vision:
        vision |= {"layers": 2, "width": WIDTH, "head_width": 16, "patch_size": 8}
    if vision.get("attentional_pool"):
        vision |= {"attn_pooler_queries": 3, "attn_pooler_heads": 2}
    for part in [text, *([cfg["multimodal_cfg"]] if "multimodal_cfg" in cfg else [])]:
        if "hf_model_name" not in part:
            part |= {"width": WIDTH, "heads": 2, "layers": 2}
    if words := FAMILIES[name].get("words"):
        text["hf_tokenizer_name"] = str(_tokenizer(words, folder))
        text["vocab_size"] = VOCABULARY
    if kind := FAMILIES[name].get("text"):
        text["hf_model_name"] = str(_text_config(kind, folder))
    return cfg


@lru_cache
def _one_tokenizer(context_length: int = 77, **options):
    return open_clip.SimpleTokenizer(context_length=context_length, **options)


def _write_random_weights(architecture: str, file: Path) -> None:
    """Weights large enough that an activation, a position and a padding make a difference."""
    draw = torch.Generator().manual_seed(0)
    model = open_clip.create_model(architecture, pretrained_text=False)
    with torch.no_grad():
        for weights in model.parameters():
            if weights.ndim > 1:
                weights.normal_(0, 1 / weights[0].numel() ** 0.5, generator=draw)
            elif weights.ndim == 1:
                weights += 0.1 * torch.randn(weights.shape, generator=draw)
    save_file({name: tensor.contiguous().clone() for name, tensor in model.state_dict().items()}, file)


def _tokenizer(kind: str, folder: Path) -> Path:
    """A folder of a tokenizer of the family's own class that knows letters and a few words."""
    if (folder / kind).is_dir():
        return folder / kind
    pieces = [("▁a", -1.0), ("▁red", -1.0), ("▁", -2.0), *((letter, -5.0) for letter in LETTERS)]
    letters = {letter: i for i, letter in enumerate(["<s>", "<pad>", "</s>", "<unk>", "▁", *LETTERS])}
    if kind == "t5":
        marks = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
        tokenizer = transformers.T5Tokenizer(vocab=[*marks, *pieces], extra_ids=0, pad_token="</s>")
    elif kind == "gemma":
        marks = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
        vocabulary = {token: i for i, token in enumerate([*marks, "▁", *LETTERS])}
        tokenizer = transformers.GemmaTokenizer(vocab=vocabulary, merges=[])
    elif kind == "bert":
        marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        words = [*marks, "a", "red", *LETTERS[1:], *(f"##{letter}" for letter in LETTERS)]
        tokenizer = transformers.BertTokenizer(vocab={word: i for i, word in enumerate(words)})
    elif kind == "roberta":
        letters |= {letter: len(letters) + i for i, letter in enumerate(["<mask>", "Ġ"])}
        tokenizer = transformers.RobertaTokenizer(vocab=letters, merges=[])
    elif kind == "nllb":
        tokenizer = transformers.NllbTokenizer(vocab=letters, merges=[])
    else:
        marks = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
        tokenizer = transformers.XLMRobertaTokenizer(vocab=[*marks, *pieces])
    tokenizer.save_pretrained(folder / kind)
    return folder / kind


def _text_config(kind: str, folder: Path) -> Path:
    """A folder with the config of a text tower of transformers, one layer."""
    ids = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
    if kind == "m2m_100":
        sizes = {"d_model": WIDTH, "encoder_layers": 1, "decoder_layers": 1, "vocab_size": 300}
        heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
        config = transformers.M2M100Config(**sizes, **heads, encoder_ffn_dim=64, decoder_ffn_dim=64, **ids)
    else:
        make = transformers.XLMRobertaConfig if kind == "xlm-roberta" else transformers.RobertaConfig
        sizes = {"hidden_size": WIDTH, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
        config = make(vocab_size=VOCABULARY, max_position_embeddings=128, **sizes, **ids)
    config.save_pretrained(folder / f"{kind}-config")
    return folder / f"{kind}-config"
