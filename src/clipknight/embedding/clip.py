"""CLIP image and caption encoders, each named by one string.

`lite2-minilm`       the offline default: ImageNet EfficientNet-Lite2 and MiniLM, both from packages, as one CLIP
`lite0-minilm`       the same with a smaller tower, Lite0 or Lite1, for a smaller budget
`ViT-L-14:openai`    any open_clip architecture and tag          `hf-hub:org/repo`   an open_clip model on the hub
`outputs/clip`       a run of this project, or a folder in open_clip's own format
`timm:resnet50.a1_in1k`, or a folder of timm's: an image classifier, for recognise.py alone
`NAME@224`           any of them at another image size, pixels a side
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from clipknight.devices import pick_device, pick_precision
from clipknight.embedding.image_encoder import ImageEncoder, without_size
from clipknight.embedding.packaged_clip import PACKAGED, load_packaged_tower
from clipknight.embedding.settings import FEATURES, OFFLINE, TIMM
from clipknight.messages import advice
from clipknight.packs import place_in_pack
from clipknight.paths import existing
from clipknight.saved_files import load_weights, read_description, read_tensors
from clipknight.waiting import waiting

if TYPE_CHECKING:
    from clipknight.embedding.clip_encoder import ClipEncoder

REMEDY = "make the encoder again by the command that trained it, with --overwrite"
_loaded: ContextVar[dict | None] = ContextVar("loaded", default=None)  # where `encoders_loaded_once` has them


@contextmanager
def encoders_loaded_once() -> Iterator[None]:
    """Have the same encoder given for the same words while the block runs, which must train none of them."""
    before = _loaded.set({} if _loaded.get() is None else _loaded.get())
    try:
        yield
    finally:
        _loaded.reset(before)


def load_clip(
    name: str = OFFLINE, device: str = "auto", precision: str = "auto", features: str = "auto"
) -> "ClipEncoder":
    """The encoder called `name` (see the module's head).

    `features="pooled"` takes a timm tower's image embedding before its projection. ValueError with near names for an
    unknown name; ConnectionError when its weights are neither here nor reachable.
    """
    return _with_features(_once(name, device, precision, False), features)


def load_image_encoder(
    name: str = OFFLINE, device: str = "auto", precision: str = "auto", features: str = "auto"
) -> ImageEncoder:
    """The same for images alone, with the same fingerprint: a packaged encoder, or one adapted from it, loads faster.

    It has no text tower then, and its image tower is no timm model, which training and sub-regions need.
    """
    return _with_features(_once(name, device, precision, True), features)


def _with_features(encoder: ImageEncoder, features: str) -> ImageEncoder:
    if features == "pooled":
        if not hasattr(encoder.visual, "trunk"):
            raise ValueError(
                f"encoder {encoder.name!r} has no pooled features apart from its projection"
                + advice(": use --features auto")
            )
        return replace(encoder, joint=False, projected=False)
    if features != "auto":
        raise ValueError(f"features {features!r} is none of {', '.join(FEATURES)}")
    return encoder


def _once(*words: str | bool) -> ImageEncoder:
    loaded = _loaded.get()
    if loaded is not None and words in loaded:
        return loaded[words]
    with waiting(f"loading the encoder {words[0]}"):
        encoder = _load(*words)
    if loaded is not None:
        loaded[words] = encoder
    return encoder


def _load(name: str, device: str, precision: str, images_alone: bool) -> ImageEncoder:
    base, size = without_size(name)
    if size and not size.isdecimal():
        raise ValueError(f"encoder {name!r}: the size after @ is a number of pixels, as in {base}@224")
    if is_timm(base):
        if not images_alone:
            raise ValueError(f"encoder {name!r} is a classifier of images, without a text tower: recognise.py takes it")
        from clipknight.embedding.timm_classifier import load_timm

        return _on_device(load_timm(base, existing(base)), size, device, precision)
    folder = _encoder_folder(base)
    images_alone = images_alone and _is_packaged(base, folder)
    if folder is not None:
        encoder = replace(_adapted(folder, images_alone), name=name)
    else:
        encoder = _tower(base) if images_alone else _root(base)
    return _on_device(encoder, size, device, precision)


def _on_device(encoder: ImageEncoder, size: str, device: str, precision: str) -> ImageEncoder:
    encoder = encoder.at_size(int(size)) if size else encoder
    device = pick_device(device)
    return replace(encoder, device=device, precision=pick_precision(precision, device))


def _root(name: str, activation: str | None = None) -> "ClipEncoder":
    from clipknight.embedding.clip_encoder import ClipEncoder
    from clipknight.embedding.pretrained_clip import load_pretrained

    found = load_pretrained(name, activation)
    parts = {"model": found.model, "preprocess_cfg": found.preprocess_cfg, "tokenizer": found.tokenizer}
    flags = {"joint": found.joint, "projected": found.joint, "activation": found.activation}
    return ClipEncoder(name=name, root=name, **parts, **flags)


def _tower(name: str, trained: bool = True) -> ImageEncoder:
    """A packaged encoder for images alone."""
    model, cfg = load_packaged_tower(name, trained)
    return ImageEncoder(name=name, root=name, model=model, preprocess_cfg=cfg, joint=False, projected=False)


def _adapted(folder: Path, images_alone: bool) -> ImageEncoder:
    """The encoder saved in `folder`: its root, with the weights that are its own."""
    flags = dict.fromkeys(("joint", "projected", "locked_text"), (bool,))
    saved = read_description(folder / "encoder.json", REMEDY, root=(str,), activation=(str,), **flags)
    base, size = without_size(place_in_pack(folder, saved["root"]))
    if images_alone:
        encoder = _tower(base, trained=False)
    else:  # where nothing is said, the run is of 0.3.0, which trained it with open_clip's own config
        encoder = _root(base, saved.get("activation", ""))
    encoder = encoder.at_size(int(size)) if size else encoder
    weights = folder / "encoder.safetensors"
    tensors = read_tensors(weights, REMEDY)
    if images_alone:
        tensors, flags = {n: t for n, t in tensors.items() if n.startswith("visual.")}, ("joint", "projected")
    incompatible = load_weights(encoder.model, tensors, weights, REMEDY, strict=False)
    if incompatible.unexpected_keys:
        raise ValueError(f"{folder}: weights that {saved['root']} has no place for: {incompatible.unexpected_keys[:3]}")
    missing = [n for n in incompatible.missing_keys if n.startswith("visual.") or not saved["locked_text"]]
    if missing:
        raise ValueError(f"{folder}: {len(missing)} weights of {saved['root']} are missing: {', '.join(missing[:3])}")
    return replace(encoder, **{flag: saved[flag] for flag in flags})


def _encoder_folder(name: str) -> Path | None:
    """The folder of an adapted encoder: the folder itself, or `best/` of the run that it is."""
    path = existing(name)
    for folder in (path, path / "best"):
        if (folder / "encoder.json").is_file():
            return folder
    if path.is_dir() and not (path / "open_clip_config.json").is_file():
        raise ValueError(f"{path} holds no encoder: looked for encoder.json, best/encoder.json, open_clip_config.json")
    return None


def _is_packaged(base: str, folder: Path | None) -> bool:
    """Whether an encoder is packaged, or was adapted from one that is."""
    if folder is not None:
        base = read_description(folder / "encoder.json", REMEDY, root=(str,)).get("root", "")
    return without_size(base)[0] in PACKAGED


def is_timm(name: str) -> bool:
    """Whether an encoder's name is of a classifier of timm's, or of a folder that timm.models.save_for_hf wrote."""
    base, _ = without_size(name)
    config = existing(base) / "config.json"
    if base.startswith(TIMM) or not config.is_file():
        return base.startswith(TIMM)
    return "architecture" in read_description(config, "take another copy of the model")
