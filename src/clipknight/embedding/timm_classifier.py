"""Image classifiers of timm's, by name: their pooled features, and the layer that tells what they show.

`timm:resnet50.a1_in1k`    any of timm's pretrained names        `timm:hf-hub:org/repo`   one on the hub
`models/mushrooms`         a folder in the form that timm.models.save_for_hf writes: config.json and weights
"""

import copy
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from clipknight.data.images import middle_of_strip
from clipknight.embedding.image_encoder import ImageEncoder
from clipknight.embedding.preprocessing import PreprocessCfg
from clipknight.embedding.settings import OFFLINE, TIMM
from clipknight.hub import hub_failure, prepare_loading

import numpy as np
import timm
import torch
from PIL import Image
from timm.data import ImageNetInfo, create_transform, infer_imagenet_subset, resolve_model_data_config
from timm.models import save_for_hf
from torch import Tensor, nn


@dataclass(frozen=True)
class TimmPreprocessCfg(PreprocessCfg):
    """`crop_pct`: the share of the short side that is seen."""

    crop_pct: float = 1.0


@dataclass(frozen=True)
class TimmPixels:
    """A picture as timm prepares it for such a model."""

    cfg: TimmPreprocessCfg

    def __call__(self, image: Image.Image) -> Tensor:
        cfg = self.cfg
        transform = create_transform(
            cfg.size, interpolation=cfg.interpolation, mean=cfg.mean, std=cfg.std, crop_pct=cfg.crop_pct
        )
        return transform(middle_of_strip(image).convert("RGB"))


class _Tower(nn.Module):
    """`visual.trunk` gives pooled features, as a CLIP's does; `head` names classes by them."""

    def __init__(self, trunk: nn.Module, head: nn.Linear):
        super().__init__()
        self.visual = nn.ModuleDict({"trunk": trunk})
        self.head = head


@dataclass(kw_only=True)
class TimmClassifier(ImageEncoder):
    """An image encoder whose features its own last layer names."""

    def _preprocess(self) -> TimmPixels:
        return TimmPixels(self.preprocess_cfg)

    def at_size(self, size: int) -> "TimmClassifier":
        model = copy.deepcopy(self.model)
        if hasattr(model.visual.trunk, "set_input_size"):  # a transformer's positions are of one size
            model.visual.trunk.set_input_size(img_size=(size, size))
        return self._sized(size, model)

    def classifier(self) -> tuple[list[str], np.ndarray, np.ndarray]:
        """(class names, weight (C, D), bias (C,)). The names are as many as there are classes, or none are known."""
        head = self.model.head
        bias = np.zeros(head.out_features, np.float32) if head.bias is None else head.bias.detach().cpu().numpy()
        return _class_names(self.visual.trunk, head.out_features), head.weight.detach().cpu().numpy(), bias


def load_timm(name: str, folder: Path) -> TimmClassifier:
    """ValueError for a name that timm has not, or a model that ends in no layer of classes; ConnectionError."""
    source = f"local-dir:{folder.resolve()}" if folder.is_dir() else name.removeprefix(TIMM)
    if not folder.is_dir() and ":" not in source and source not in timm.list_pretrained():
        near = get_close_matches(source, timm.list_pretrained(), n=3, cutoff=0.4)
        raise ValueError(f"timm has no weights called {source!r}. Near ones: {', '.join(near) or 'resnet50.a1_in1k'}")
    prepare_loading(str(folder))
    try:
        trunk = timm.create_model(source, pretrained=True)
    except Exception as error:  # timm, torch, safetensors and the hub each raise their own
        raise hub_failure(str(folder) if folder.is_dir() else name, error, f"encoder {OFFLINE!r}") from error
    head = trunk.get_classifier()
    if not isinstance(head, nn.Linear):
        raise ValueError(f"{name!r} ends in no single layer of classes: take another classifier of timm's")
    trunk.reset_classifier(0)
    config = resolve_model_data_config(trunk)
    cfg = TimmPreprocessCfg(
        size=config["input_size"][-1],
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        interpolation=config["interpolation"],
        crop_pct=config["crop_pct"],
    )
    tower = _Tower(trunk, head)
    return TimmClassifier(name=name, root=name, model=tower, preprocess_cfg=cfg, joint=False, projected=False)


def write_timm(encoder: TimmClassifier, folder: Path, half: bool) -> None:
    """Write what `load_timm` reads in a folder, with 16-bit weights for `half`."""
    trunk = copy.deepcopy(encoder.visual.trunk)
    names, weight, _ = encoder.classifier()
    trunk.reset_classifier(len(weight))
    trunk.get_classifier().load_state_dict(encoder.model.head.state_dict())
    config = {"num_classes": len(weight), "label_names": names or None}
    trunk.to(memory_format=torch.contiguous_format)  # as safetensors wants it
    save_for_hf(trunk.half() if half else trunk, folder, model_config=config, safe_serialization=True)


def _class_names(trunk: nn.Module, count: int) -> list[str]:
    """From the model's own config, or of ImageNet's classes as timm lists them: WordNet's first name of each."""
    if own := trunk.pretrained_cfg.get("label_names"):
        described = trunk.pretrained_cfg.get("label_descriptions") or {}
        names = [described.get(name, name) if isinstance(described, dict) else name for name in own]
    elif subset := infer_imagenet_subset(trunk):
        classes = ImageNetInfo(subset)
        names = [classes.index_to_description(i) for i in range(classes.num_classes())]
    else:
        return []
    return [name.partition(",")[0] for name in names] if len(names) == count else []
