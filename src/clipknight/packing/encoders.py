"""Pretrained CLIPs as folders of a pack, in open_clip's own format: no hub is needed to load them."""

import dataclasses
import json
from pathlib import Path

from clipknight.embedding.clip import is_timm, load_image_encoder
from clipknight.embedding.pretrained_clip import load_pretrained
from clipknight.embedding.timm_classifier import write_timm
from clipknight.packing.sixteen_bits import in_16_bits
from clipknight.paths import existing

import open_clip
from open_clip.hf_model import HFTextEncoder
from open_clip.tokenizer import HFTokenizer, SigLipTokenizer
from safetensors.torch import save_file


def write_pretrained(name: str, folder: Path, half: bool) -> None:
    """Write the encoder called `name`, weights, settings and tokenizer, into a new `folder` that loads by its name.

    ValueError for one whose text tower or tokenizer has files of its own on the hub, which open_clip asks for.
    """
    if is_timm(name):
        return write_timm(load_image_encoder(name, "cpu"), folder, half)
    found = load_pretrained(name)
    tokenizer = found.tokenizer
    if isinstance(getattr(found.model, "text", None), HFTextEncoder) or isinstance(tokenizer, SigLipTokenizer):
        raise ValueError(
            f"encoder {name!r} has a text tower whose description is on the hub, so that no pack can hold it: adapt "
            "another encoder, such as lite2-minilm or one of OpenAI's"
        )
    source = existing(name)
    architecture = f"local-dir:{source.resolve()}" if source.is_dir() else name.partition(":")[0]
    model_cfg = open_clip.get_model_config(name if name.startswith("hf-hub:") else architecture)
    if found.activation:
        model_cfg = {**model_cfg, "quick_gelu": found.activation == "quick_gelu"}
    folder.mkdir(parents=True)
    weights = {name: tensor.detach().contiguous().clone() for name, tensor in found.model.state_dict().items()}
    save_file(in_16_bits(weights) if half else weights, folder / "open_clip_model.safetensors", {"format": "pt"})
    described = {"model_cfg": model_cfg, "preprocess_cfg": dataclasses.asdict(found.preprocess_cfg)}
    (folder / "open_clip_config.json").write_text(json.dumps(described, indent=1), encoding="utf-8")
    if isinstance(tokenizer, HFTokenizer):
        tokenizer.tokenizer.save_pretrained(folder)
