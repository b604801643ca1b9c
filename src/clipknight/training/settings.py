"""Groups of settings that training scripts share: of a run, of going on with it, of fine-tuning an image tower."""

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Literal

from clipknight.devices import PrecisionSettings, WorkerSettings
from clipknight.embedding.settings import OFFLINE, KeptDataSettings, SkippingSettings
from clipknight.messages import shortened
from clipknight.ranges import Degrees, Few, Name, PositiveCount, PositiveFew, PositiveShare, Rate, Share, ShareBelowOne
from clipknight.settings import resolved, without_effect

TRACKERS = ("tensorboard", "wandb", "trackio")  # accelerate's names, which are those of the packages


def tracker_named(track: str) -> str:
    """One of TRACKERS, "" for none; auto is TensorBoard where it is installed. ValueError for one that is not."""
    wanted = "tensorboard" if track == "auto" else track
    if wanted in TRACKERS and find_spec(wanted) is not None:
        return wanted
    if track in TRACKERS:
        raise ValueError(f"the tracker {track} needs a package that is not installed: pip install {track}")
    return ""


@cache
def check_account() -> None:
    """ValueError where Weights & Biases takes no run: wandb itself would ask for an account, and wait."""
    import wandb

    if wandb.setup().settings.mode in ("offline", "dryrun", "disabled"):
        return
    remedy = "type wandb login once, or set WANDB_MODE=offline, which keeps the run on this machine"
    try:
        if not wandb.login(prompt=False):
            raise ValueError(f"no account of Weights & Biases is set on this machine: {remedy}")
    except TypeError as error:
        raise ValueError("the tracker wandb is older than 0.31, which is needed: pip install -U wandb") from error
    except wandb.errors.Error as error:
        raise ValueError(f"Weights & Biases is not reached ({shortened(error, 160)}): {remedy}") from error


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """Settings of a script that makes a run; pipeline.py knows by them that it does"""

    run: Name
    """name of the run: outputs/<run>"""
    overwrite: bool = without_effect(False, saved=False)
    """replace the run"""


@dataclass(frozen=True, kw_only=True)
class ResumableSettings(RunSettings):
    """Settings of a run that goes on where it was killed"""

    resume: bool = without_effect(False, saved=False)
    """go on with the run after a kill"""
    save_every: PositiveCount = without_effect(50)
    """optimizer steps between two saves of last/"""
    track: Literal["auto", "none", *TRACKERS] = without_effect("auto")
    """where the training can be followed: tensorboard (in outputs/<run>/tensorboard), wandb (sends it to Weights &
    Biases), trackio (on this machine); auto: tensorboard where it is installed"""

    def __post_init__(self):
        if tracker_named(self.track) == "wandb":  # refused before minutes of work
            check_account()


@dataclass(frozen=True, kw_only=True)
class FineTuningSettings(ResumableSettings, WorkerSettings, PrecisionSettings, SkippingSettings, KeptDataSettings):
    """Settings of fine-tuning an image tower"""

    encoder: Name = f"{OFFLINE}@224"
    """CLIP to start from: lite2-minilm, architecture:tag, hf-hub:..., a folder, a run; NAME@224 sets the image size"""
    epochs: Few = 3
    """epochs of fine-tuning; 0 stops after the first stage, which leaves the tower as it is"""
    batch_size: PositiveFew = 64
    """images a step and process; contrastive negatives come from the same batch"""
    lr_vision: Rate | None = resolved(4e-4, 1e-5)
    """learning rate of the tower's top layer; by default 4e-4 for a tower of ImageNet, 1e-5 for any other CLIP's"""
    layer_decay: PositiveShare | None = resolved(0.9, 0.7)
    """each layer of the tower learns at this share of the one above, 1 for one rate; by default .9, or .7 likewise"""
    freeze_below: Share = 0.15
    """layers whose share falls below this are frozen"""
    weight_decay: Rate = 0.05
    """AdamW weight decay of matrices"""
    warmup: Share = 0.1
    """share of the steps with a rising learning rate; a cosine to zero follows"""
    ema: ShareBelowOne = 0.998
    """decay of the averaged weights that are evaluated and kept; 0 for none"""
    flip: bool = True
    """mirror training images at random; bad for captions that say left or right"""
    crop: PositiveShare = 0.6
    """smallest share of a training image's area that a random crop keeps; 1 for none"""
    rotation: Degrees = 0.0
    """largest random rotation, degrees"""
