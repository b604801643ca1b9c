"""Settings that scripts with a dataset share, and what encoders' flags offer; nothing heavy is imported here."""

from dataclasses import dataclass

from clipknight.data.settings import Columns
from clipknight.devices import DeviceSettings
from clipknight.ranges import Name, Seed
from clipknight.settings import without_effect

OFFLINE = "lite2-minilm"  # the encoder that comes in packages
TIMM = "timm:"  # begins the name of one of timm's classifiers
MINILM = "all-MiniLM-L6-v2"
FEATURES = ("auto", "pooled")


@dataclass(frozen=True, kw_only=True)
class DataSettings(DeviceSettings):
    """Settings of a dataset, for every script that has one"""

    data: str
    """dataset folder (or table), in the layout you have it: see input/README.md"""
    images: str = ""
    """folder of the images, where the dataset does not say"""
    image_column: str = Columns.image
    """a table's column of image files"""
    caption_column: str = Columns.caption
    """a table's column of captions"""
    split_column: str = Columns.split
    """a table's column of splits"""
    target_encoder: Name = MINILM
    """sentence-transformers name or folder: what predictions are to equal"""
    seed: Seed = 0
    """of all that is drawn: a split where the dataset names none, initial weights, order, augmentation, folds"""

    @property
    def columns(self) -> Columns:
        return Columns(self.image_column, self.caption_column, self.split_column)


@dataclass(frozen=True, kw_only=True)
class KeptDataSettings(DataSettings):
    """Settings of a dataset that may be filtered"""

    keep: str = ""
    """CSV of filter_captions.py: train only on the captions it kept"""


@dataclass(frozen=True, kw_only=True)
class SkippingSettings:
    """Settings of what needs a dataset's images"""

    # What is left out changes rows, the switch itself does not: a run that stopped at an image goes on with it, and
    # one that is resumed checks that it learns from as many rows as before.
    skip_unreadable: bool = without_effect(False)
    """go on without the images that are missing or cannot be read, listed in a file, instead of stopping"""
