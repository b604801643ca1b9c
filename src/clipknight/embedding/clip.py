"""CLIP image and caption encoders, each named by one string.

`lite2-minilm`       the offline default: ImageNet EfficientNet-Lite2 and MiniLM, both from packages, as one CLIP
`lite0-minilm`       the same with a smaller tower, Lite0 or Lite1, for a smaller budget
`ViT-L-14:openai`    any open_clip architecture and tag          `hf-hub:org/repo`   an open_clip model on the hub
`outputs/clip`       a run of this project, or a folder in open_clip's own format
`NAME@224`           any of them at another image size, pixels a side
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path

from clipknight.devices import pick_device, pick_precision
from clipknight.embedding.clip_encoder import ClipEncoder, without_size
from clipknight.embedding.pretrained_clip import load_pretrained
from clipknight.embedding.settings import FEATURES, OFFLINE
from clipknight.packs import place_in_pack
from clipknight.paths import existing
from clipknight.saved_files import load_weights, read_description, read_tensors
from clipknight.waiting import waiting

_loaded: ContextVar[dict | None] = ContextVar("loaded", default=None)  # where `encoders_loaded_once` has them


@contextmanager
def encoders_loaded_once() -> Iterator[None]:
    """Have `load_clip` give the same encoder for the same words while the block runs, which must train none of them."""
    before = _loaded.set({} if _loaded.get() is None else _loaded.get())
    try:
        yield
    finally:
        _loaded.reset(before)


def load_clip(
    name: str = OFFLINE, device: str = "auto", precision: str = "auto", features: str = "auto"
) -> ClipEncoder:
    """The encoder called `name` (see the module's head).

    `features="pooled"` takes a timm tower's image embedding before its projection. ValueError with near names for an
    unknown name; ConnectionError when its weights are neither here nor reachable.
    """
    encoder = _once(name, device, precision)
    if features == "pooled":
        if not hasattr(encoder.visual, "trunk"):
            raise ValueError(f"encoder {name!r} has no pooled features apart from its projection: use --features auto")
        return replace(encoder, joint=False, projected=False)
    if features != "auto":
        raise ValueError(f"features {features!r} is none of {', '.join(FEATURES)}")
    return encoder


def _once(*words: str) -> ClipEncoder:
    loaded = _loaded.get()
    if loaded is not None and words in loaded:
        return loaded[words]
    with waiting(f"loading the encoder {words[0]}"):
        encoder = _load_clip(*words)
    if loaded is not None:
        loaded[words] = encoder
    return encoder


def _load_clip(name: str, device: str, precision: str) -> ClipEncoder:
    base, size = without_size(name)
    if size and not size.isdecimal():
        raise ValueError(f"encoder {name!r}: the size after @ is a number of pixels, as in {base}@224")
    folder = _encoder_folder(base)
    encoder = _root(base) if folder is None else replace(_adapted(folder), name=name)
    encoder = encoder.at_size(int(size)) if size else encoder
    device = pick_device(device)
    return replace(encoder, device=device, precision=pick_precision(precision, device))


def _root(name: str, activation: str | None = None) -> ClipEncoder:
    found = load_pretrained(name, activation)
    parts = found.model, found.preprocess_cfg, found.tokenizer
    return ClipEncoder(name, name, *parts, joint=found.joint, projected=found.joint, activation=found.activation)


def _adapted(folder: Path) -> ClipEncoder:
    """The encoder saved in `folder`: its root, with the weights that are its own."""
    remedy = "make the encoder again by the command that trained it, with --overwrite"
    flags = dict.fromkeys(("joint", "projected", "locked_text"), (bool,))
    saved = read_description(folder / "encoder.json", remedy, root=(str,), activation=(str,), **flags)
    base, size = without_size(place_in_pack(folder, saved["root"]))
    # Where nothing is said, the run is of 0.3.0, which trained it with open_clip's own config.
    encoder = _root(base, saved.get("activation", ""))
    encoder = encoder.at_size(int(size)) if size else encoder
    weights = folder / "encoder.safetensors"
    incompatible = load_weights(encoder.model, read_tensors(weights, remedy), weights, remedy, strict=False)
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
