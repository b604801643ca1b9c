"""Fine-tuning plumbing: layer-wise learning rates, schedule, EMA, and the state that makes a resume exact."""

from collections.abc import Iterable
from pathlib import Path

from clipknight.files import atomic_file

import timm.optim
import torch
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from transformers import get_cosine_schedule_with_warmup

# timm's towers say how their parameters stack; open_clip's own do not, so they are told here, in timm's terms.
VIT_LAYERS = {
    "stem": r"^conv1|^class_embedding|^positional_embedding|^ln_pre",
    "blocks": [(r"^transformer\.resblocks\.(\d+)", None), (r"^ln_post|^proj|^attn_pool", (99999,))],
}
RESNET_LAYERS = {"stem": r"^conv\d|^bn\d", "blocks": [(r"^layer(\d+)\.(\d+)", None), (r"^attnpool", (99999,))]}


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


def mixed(precision: torch.dtype) -> str:
    """accelerate's name for a precision."""
    return {torch.float32: "no", torch.bfloat16: "bf16", torch.float16: "fp16"}[precision]


def freeze_batch_norm(model: nn.Module) -> None:
    """Keep the pretrained running statistics: a small batch would spoil them. Call after `model.train()`."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


class TrainingState:
    """Everything a resumed training needs: model, optimizer, schedule, EMA and the position in the data.

    `position` is the (epoch, batch) to do next. The generators need no saving: they are seeded anew at every step.
    """

    def __init__(self, model: nn.Module, groups: list[dict], steps: int, warmup: float, ema_decay: float):
        self.model = model
        self.optimizer = torch.optim.AdamW(groups, fused=True)  # one pass over the weights: on CPUs too
        self.schedule = get_cosine_schedule_with_warmup(self.optimizer, int(warmup * steps), steps)
        # Warm-up lets a short run's average forget its start: 0.9998 alone would remember it for 5,000 steps.
        self.ema = ModelEmaV3(model, ema_decay, use_warmup=True) if ema_decay else None
        # Frozen layers stay what the encoder was loaded with: they need no saving. Statistics may be a new head's.
        kept = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        kept |= {name for name, _ in model.named_buffers()}
        self.kept = [name for name in model.state_dict() if name in kept]
        self.steps_done, self.position, self.best = 0, (0, 0), float("-inf")
        self.epoch_loss = 0.0  # sum over the epoch's batches so far

    @property
    def averaged(self) -> nn.Module:
        """The model to evaluate and save: the EMA where there is one."""
        return self.ema.module if self.ema else self.model

    def step(self, clip_norm: float, accelerator=None) -> None:
        """One optimizer step from the gradients at hand."""
        trained = [p for group in self.optimizer.param_groups for p in group["params"]]
        clip = accelerator.clip_grad_norm_ if accelerator else nn.utils.clip_grad_norm_
        clip(trained, clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.schedule.step()
        self.steps_done += 1
        if self.ema:
            self.ema.update(self.model, step=self.steps_done)

    def save(self, file: Path) -> None:
        state = {
            "model": self._kept_of(self.model),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "ema": self._kept_of(self.ema.module) if self.ema else None,
            "progress": (self.steps_done, self.position, self.best),
            "epoch_loss": self.epoch_loss,
        }
        with atomic_file(file) as temporary:
            torch.save(state, temporary)

    def load(self, file: Path) -> None:
        state = torch.load(file, map_location="cpu", weights_only=True)
        self.model.load_state_dict(state["model"], strict=False)
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        if self.ema:
            self.ema.module.load_state_dict(state["ema"], strict=False)
        self.steps_done, self.position, self.best = state["progress"]
        self.epoch_loss = state.get("epoch_loss", 0.0)

    def _kept_of(self, model: nn.Module) -> dict[str, Tensor]:
        tensors = model.state_dict()
        return {name: tensors[name] for name in self.kept}
