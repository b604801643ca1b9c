"""Settings that every script shares which fine-tunes an image tower."""

from dataclasses import dataclass

from clipknight.embedding.captioned_dataset import DataSettings
from clipknight.embedding.packaged_clip import OFFLINE


@dataclass(frozen=True, kw_only=True)
class FineTuningSettings(DataSettings):
    """Settings of fine-tuning an image tower"""

    encoder: str = f"{OFFLINE}@224"
    """CLIP to start from: lite2-minilm, architecture:tag, hf-hub:..., a folder, a run; NAME@224 sets the image size"""
    epochs: int = 3
    """epochs of fine-tuning; 0 stops after the first stage, which leaves the tower as it is"""
    batch_size: int = 64
    """images a step and process; contrastive negatives come from the same batch"""
    lr_vision: float | None = None
    """learning rate of the tower's top layer; by default 4e-4 for a tower of ImageNet, 1e-5 for any other CLIP's"""
    layer_decay: float | None = None
    """each layer of the tower learns at this share of the one above, 1 for one rate; by default .9, or .7 likewise"""
    freeze_below: float = 0.15
    """layers whose share falls below this are frozen"""
    weight_decay: float = 0.05
    """AdamW weight decay of matrices"""
    warmup: float = 0.1
    """share of the steps with a rising learning rate; a cosine to zero follows"""
    ema: float = 0.998
    """decay of the averaged weights that are evaluated and kept; 0 for none"""
    flip: bool = True
    """mirror training images at random; bad for captions that say left or right"""
    crop: float = 0.6
    """smallest share of a training image's area that a random crop keeps; 1 for none"""
    rotation: float = 0.0
    """largest random rotation, degrees"""
    save_every: int = 50
    """optimizer steps between two saves of last/"""
    workers: int = 2
    """processes that read images"""
    precision: str = "auto"
    """auto (bf16 where the hardware has it), fp32, bf16, fp16"""
    resume: bool = False
    """go on with the run after a kill"""
    overwrite: bool = False
    """replace the run"""
