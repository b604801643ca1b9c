"""Which parameters learn, and how fast: layer by layer in an image tower, at one rate in new layers, warmed up."""

from collections.abc import Iterable

from clipknight.embedding.clip_encoder import ClipEncoder
from clipknight.embedding.packaged_clip import PACKAGED
from clipknight.processes import in_main_process

import timm.optim
import torch
from torch import nn
from transformers import get_cosine_schedule_with_warmup

# timm's towers say how their parameters stack; open_clip's own do not, so they are told here, in timm's terms.
VIT_LAYERS = {
    "stem": r"^conv1|^class_embedding|^positional_embedding|^ln_pre",
    "blocks": [(r"^transformer\.resblocks\.(\d+)", None), (r"^ln_post|^proj|^attn_pool", (99999,))],
}
RESNET_LAYERS = {"stem": r"^conv\d|^bn\d", "blocks": [(r"^layer(\d+)\.(\d+)", None), (r"^attnpool", (99999,))]}

# (learning rate of the top layer, layer decay) by what the tower learnt from. A few epochs at the first pair ruin
# what a tower has learnt from hundreds of millions of images with their captions.
IMAGENET_RATES = (4e-4, 0.9)
WEB_RATES = (1e-5, 0.7)


def tower_rates(encoder: ClipEncoder, lr: float | None, layer_decay: float | None) -> dict[str, float]:
    """`lr_vision` and `layer_decay` as given, or where they are None, this kind of tower's, which are printed."""
    of_imagenet = encoder.root.partition("@")[0] in PACKAGED
    kind_lr, kind_decay = IMAGENET_RATES if of_imagenet else WEB_RATES
    rates = {
        "lr_vision": kind_lr if lr is None else lr,
        "layer_decay": kind_decay if layer_decay is None else layer_decay,
    }
    if None in (lr, layer_decay) and in_main_process():
        learnt_from = "ImageNet" if of_imagenet else "the web's images and captions"
        print(
            f"a tower that learnt from {learnt_from}: "
            + ", ".join(f"--{name} {rate:g}" for name, rate in rates.items())
        )
    return rates


def tower_groups(
    visual: nn.Module, lr: float, layer_decay: float, freeze_below: float, weight_decay: float
) -> list[dict]:
    """Optimizer groups of an image tower: the top layer learns at `lr`, each one below at `layer_decay` times that.

    Layers whose share falls below `freeze_below` are frozen: no gradient is computed for them, which on a
    convolutional tower saves most of the backward pass. A timm tower's projection head is not included.
    """
    tower = getattr(visual, "trunk", visual)
    if not hasattr(tower, "group_matcher"):
        layers = VIT_LAYERS if hasattr(visual, "transformer") else RESNET_LAYERS
        tower.group_matcher = lambda coarse=False: layers
    groups = timm.optim.param_groups_layer_decay(
        tower, weight_decay, layer_decay=layer_decay, no_opt_scale=freeze_below
    )
    return [{**group, "lr": lr * group["lr_scale"]} for group in groups]


def new_layer_groups(modules: Iterable[nn.Module], lr: float, weight_decay: float) -> list[dict]:
    """One optimizer group for heads and projections."""
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    return [{"params": parameters, "lr": lr, "weight_decay": weight_decay}]


def warmed_up_adamw(groups: Iterable[dict], steps: int, warmup: float) -> tuple:
    """AdamW, and its schedule: a rate that rises for the share `warmup` of the steps, then a cosine to zero."""
    optimizer = torch.optim.AdamW(groups, fused=True)  # one pass over the weights: on CPUs too
    return optimizer, get_cosine_schedule_with_warmup(optimizer, int(warmup * steps), steps)
