"""Pretrained CLIPs by name, each as its authors meant it: with its own activation, preprocessing and tokenizer."""

import warnings
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from clipknight.embedding.packaged_clip import PACKAGED, load_packaged
from clipknight.embedding.settings import OFFLINE
from clipknight.embedding.target_encoder import minilm_folder
from clipknight.hub import hub_failure, prepare_loading
from clipknight.paths import existing

import open_clip
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError
from open_clip.constants import HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME
from open_clip.transform import PreprocessCfg
from torch import nn


@dataclass(frozen=True)
class PretrainedClip:
    """`joint`: whether its images and captions share a trained space.

    `activation` is "quick_gelu" or "gelu" where that is not what open_clip's config of the architecture says, else "".
    """

    model: nn.Module
    preprocess_cfg: PreprocessCfg
    tokenizer: object
    joint: bool = True
    activation: str = ""


def load_pretrained(name: str, activation: str | None = None) -> PretrainedClip:
    """The one called `name`, at its own image size: see the head of `clipknight.embedding.clip`.

    None takes the tag's activation. ValueError with near names for an unknown name; ConnectionError when its weights
    are neither here nor reachable.
    """
    if name in PACKAGED:
        prepare_loading(minilm_folder())
        return PretrainedClip(*load_packaged(name), joint=False)
    folder, tag = existing(name), None
    if folder.is_dir():
        architecture = f"local-dir:{folder.resolve()}"
    elif name.startswith("hf-hub:"):
        architecture = name
    else:
        architecture, _, tag = name.partition(":")
        _check_name(name, architecture, tag)
    prepare_loading(str(folder))
    try:
        return _built(architecture, tag, tag_activation(architecture, tag) if activation is None else activation)
    except Exception as error:  # open_clip, torch, safetensors and the hub each raise their own
        raise hub_failure(str(folder), error, f"encoder {OFFLINE!r}, or a local folder") from error


def tag_activation(architecture: str, tag: str | None) -> str:
    """The activation that the tag's weights were trained with, where the architecture's config has another, else ""."""
    pretrained_cfg = open_clip.get_pretrained_cfg(architecture, tag) if tag else None
    if not pretrained_cfg:  # a file of weights, a folder or a repository: its config is its own
        return ""
    trained = bool(pretrained_cfg.get("quick_gelu"))
    built = bool(open_clip.get_model_config(architecture).get("quick_gelu"))
    return "" if trained == built else "quick_gelu" if trained else "gelu"


def _built(architecture: str, tag: str | None, activation: str) -> PretrainedClip:
    _download(architecture, tag)
    text_cfg = open_clip.get_model_config(architecture)["text_cfg"]
    if (text_cfg.get("tokenizer_kwargs") or {}).get("trust_remote_code"):
        raise ValueError("its tokenizer is a program of its own, which is never run")
    if architecture.startswith("local-dir:") and text_cfg.get("hf_model_name"):
        prepare_loading(text_cfg["hf_model_name"])  # that tower's own config may be on the hub
    overrides = {"quick_gelu": activation == "quick_gelu"} if activation else {}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="QuickGELU mismatch")  # which the override mends
        model = open_clip.create_model(architecture, pretrained=tag, require_pretrained=True, **overrides)
    cfg = PreprocessCfg(**open_clip.get_model_preprocess_cfg(model))
    return PretrainedClip(model, cfg, open_clip.get_tokenizer(architecture), activation=activation)


def _download(architecture: str, tag: str | None) -> None:
    """Put the weights into the hub's cache, where open_clip finds them: it would take any error for a missing file."""
    if architecture.startswith("hf-hub:"):
        repository, file = architecture.removeprefix("hf-hub:"), ""
    else:
        repository, _, file = open_clip.get_pretrained_cfg(architecture, tag or "").get("hf_hub", "").rpartition("/")
    if not repository:
        return
    safe = Path(file).with_suffix(".safetensors").name if file else HF_SAFE_WEIGHTS_NAME
    try:
        hf_hub_download(repository, safe)
    except EntryNotFoundError:
        hf_hub_download(repository, file or HF_WEIGHTS_NAME)


def _check_name(name: str, architecture: str, tag: str) -> None:
    known = {f"{a}:{t}" for a, t in open_clip.list_pretrained()}
    if name in known or (architecture in open_clip.list_models() and Path(tag).is_file()):
        return
    near = get_close_matches(name, known | set(PACKAGED), n=3, cutoff=0.4)
    raise ValueError(
        f"no encoder is called {name!r}: neither a folder here nor an open_clip architecture:tag. "
        f"Near ones: {', '.join(near) or OFFLINE}. All: open_clip.list_pretrained()"
    )
