"""Files that stand for the real thing: random CLIP, target encoder and language models, a data set of colours."""

import json
from pathlib import Path

import numpy as np
import open_clip
import torch
from PIL import Image
from safetensors.torch import save_file

COLOURS = {
    "red": (220, 30, 30),
    "green": (30, 200, 40),
    "blue": (30, 40, 220),
    "yellow": (230, 220, 40),
    "white": (245, 245, 245),
    "black": (12, 12, 12),
}
CAPTIONS = ("a {} picture", "the {} square", "everything here is {}", "a wall painted {}", "{} and nothing else")
SPLITS = {"train": 24, "dev": 8, "test": 6}


def write_clip(folder: Path, seed: int = 0) -> Path:
    """A two-layer CLIP, 32 pixels a side, 16 numbers a row."""
    cfg = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16},
        "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
    }
    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = open_clip.CLIP(**cfg)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    preprocess = {
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "interpolation": "bicubic",
        "resize_mode": "shortest",
    }
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": cfg, "preprocess_cfg": preprocess}), encoding="utf-8"
    )
    return folder


def write_colour_clip(folder: Path) -> Path:
    """The CLIP of `write_clip` with projections, by least squares, that lay pictures, patches, captions by colour."""
    from clipknight.embedding.clip import load_clip

    encoder = load_clip(str(write_clip(folder)), "cpu", "fp32")
    visual, colours = encoder.visual, torch.eye(16)[: len(COLOURS)]
    draw = torch.Generator().manual_seed(0)
    plain = torch.tensor(list(COLOURS.values())).repeat(40, 1)[:, :, None, None]
    pixels = (plain + 6 * torch.randn(len(plain), 3, 32, 32, generator=draw)).clip(0, 255) / 127.5 - 1
    captions = [caption.format(colour) for caption in CAPTIONS for colour in COLOURS]
    with torch.no_grad():
        visual.proj.data = encoder.model.text_projection.data = torch.eye(32)
        visual.output_tokens = True
        seen = torch.cat([pooled[:, None] if pooled.ndim == 2 else pooled for pooled in visual(pixels)], dim=1)
        said = encoder.model.encode_text(encoder.tokens(captions))
        visual.proj.data = torch.linalg.lstsq(
            seen.flatten(0, 1), colours.repeat(40, 1).repeat_interleave(5, 0)
        ).solution
        encoder.model.text_projection.data = torch.linalg.lstsq(said, colours.repeat(5, 1)).solution
    tensors = {name: tensor.contiguous() for name, tensor in encoder.model.state_dict().items()}
    save_file(tensors, folder / "open_clip_model.safetensors")
    return folder


def write_target_encoder(folder: Path, seed: int = 0) -> Path:
    """A one-layer BERT over the words of the coloured captions, mean pooling, 24 numbers a row."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    words = sorted({word for caption in CAPTIONS for word in caption.split()} - {"{}"} | set(COLOURS))
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    bert = folder.with_name(folder.name + "-bert")
    bert.mkdir(parents=True, exist_ok=True)
    (bert / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    BertTokenizerFast(vocab={word: i for i, word in enumerate(vocabulary)}).save_pretrained(bert)
    sizes = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 48}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = BertModel(BertConfig(vocab_size=len(vocabulary), initializer_range=0.5, **sizes))
    with torch.no_grad():  # what is in every caption says nothing: leave the words, and half of the filling
        model.embeddings.position_embeddings.weight.zero_()
        model.embeddings.token_type_embeddings.weight.zero_()
        model.embeddings.word_embeddings.weight[:5].zero_()
        for word in ("a", "the", "is", "and", "here", "else"):
            model.embeddings.word_embeddings.weight[vocabulary.index(word)].zero_()
    model.save_pretrained(bert)
    SentenceTransformer(modules=[Transformer(str(bert)), Pooling(24)], device="cpu").save(str(folder))
    return folder


def write_colour_encoder(folder: Path) -> Path:
    """A sentence-transformers folder of 24 numbers a row, in which captions of one colour are near each other.

    Digits count a little, so that captions with numbers differ.
    """
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    words = ["[UNK]", *COLOURS, *sorted({word for caption in CAPTIONS for word in caption.split()} - {"{}"})]
    words += "0123456789"
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    apart = [pre_tokenizers.Whitespace(), pre_tokenizers.Digits(individual_digits=True)]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(apart)
    weights = 0.1 * np.random.default_rng(0).standard_normal((len(words), 24))
    weights[1 : 1 + len(COLOURS)] += 2 * np.eye(24)[: len(COLOURS)]
    SentenceTransformer(modules=[StaticEmbedding(tokenizer, weights.astype(np.float32))], device="cpu").save(
        str(folder)
    )
    return folder


def write_language_model(folder: Path, kind: str, seed: int = 0, positions: int = 48) -> Path:
    """A one-layer causal language model of 32 numbers a token, with weights large enough to say varied things."""
    from clipknight.captioning.decoders import learn_tokenizer

    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, OPTConfig, OPTForCausalLM

    tokenizer = learn_tokenizer([caption.format(colour) for caption in CAPTIONS for colour in COLOURS], 300)
    end = tokenizer.eos_token_id
    ends = {"bos_token_id": end, "eos_token_id": end, "pad_token_id": end}
    if kind == "gpt2":
        model = GPT2LMHeadModel(
            GPT2Config(vocab_size=300, n_positions=positions, n_embd=32, n_layer=1, n_head=2, **ends)
        )
    elif kind == "opt":  # opt-350m's shape: its tokens are narrower than its layers
        sizes = {"hidden_size": 64, "word_embed_proj_dim": 32, "ffn_dim": 64, "num_hidden_layers": 1}
        shape = {"num_attention_heads": 2, "max_position_embeddings": positions, "do_layer_norm_before": False}
        model = OPTForCausalLM(OPTConfig(vocab_size=300, **sizes, **shape, **ends))
    else:
        sizes = {
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 1,
            "max_position_embeddings": positions,
        }
        heads = {"num_attention_heads": 2, "num_key_value_heads": 1}
        model = LlamaForCausalLM(LlamaConfig(vocab_size=300, **sizes, **heads, **ends))
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.4, generator=draw)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_coloured_dataset(folder: Path) -> Path:
    """Flickr8k's layout with its split lists; picture i has colour i mod 6, some noise, and five captions."""
    draw, lines = np.random.default_rng(0), ["image,caption"]
    (folder / "Images").mkdir(parents=True)
    for split, count in SPLITS.items():
        names = [f"{split}{i:02d}.png" for i in range(count)]
        (folder / f"Flickr_8k.{split}Images.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
        for i, name in enumerate(names):
            colour = list(COLOURS)[i % len(COLOURS)]
            pixels = np.array(COLOURS[colour]) + draw.normal(0, 6, (40, 40, 3))
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / "Images" / name)
            lines += [f"{name},{caption.format(colour)}" for caption in CAPTIONS]
    (folder / "captions.txt").write_text("\n".join([*lines, ""]), encoding="utf-8")
    return folder
