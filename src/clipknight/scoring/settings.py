"""The metrics of captions by name, and the settings of score.py's commands; nothing heavy is imported here."""

from dataclasses import dataclass, field
from typing import Literal

from clipknight.devices import DeviceSettings, WorkerSettings
from clipknight.embedding.settings import MINILM
from clipknight.engines.settings import EngineSettings
from clipknight.ranges import Name

METRICS = ("Bleu", "METEOR", "ROUGE_L", "CIDEr", "SPICE")


@dataclass(frozen=True, kw_only=True)
class SubmissionSettings(DeviceSettings):
    """Settings of score.py submission"""

    submission: Name
    """CSV of imgId_eId,val"""
    captions: Name
    """CSV of image,caption, as many rows an image as it has captions"""
    json: str = ""
    """also write the score to this file"""
    target_encoder: Name = MINILM
    """sentence-transformers name or folder"""
    allow_partial: bool = False
    """leave out captioned images that the submission lacks; otherwise they are an error"""


@dataclass(frozen=True, kw_only=True)
class CaptionSettings(EngineSettings, WorkerSettings):
    """Settings of score.py captions"""

    candidates: Name
    """captions to score, one an image: CSV of image,caption, COCO's JSON of results, or JSON of captions by file"""
    references: str = ""
    """captions people wrote, as many an image as there are: CSV of image,caption, COCO's JSON, JSON of lists by file"""
    metrics: list[Literal[METRICS]] = field(default_factory=lambda: list(METRICS))
    """some of Bleu, METEOR, ROUGE_L, CIDEr, SPICE"""
    images: str = ""
    """folder of the images: adds clip_cosine and CLIPScore, by --encoder"""
    encoder: str = ""
    """CLIP with a space that images and captions share: architecture:tag, hf-hub:..., folder, run of train_clip.py"""
    predictions: str = ""
    """folder of predictions, as outputs/ensemble/predictions/valid: adds target_cosine, by --target_encoder"""
    target_encoder: Name = MINILM
    """sentence-transformers name or folder"""
    json: str = ""
    """also write the scores to this file"""
    allow_partial: bool = False
    """leave out images with references that have no candidate; otherwise they are an error"""


@dataclass(frozen=True)
class ScoreTableSettings:
    """Settings of score.py table"""

    scores: list[str] = field(default_factory=list)
    """JSON files of score.py, as free words; a row is named by its file"""
    columns: list[str] = field(default_factory=lambda: ["Bleu_1", "Bleu_4", "METEOR", "ROUGE_L", "CIDEr"])
    """scores to show"""
    out: str = ""
    """also write the table to this Markdown file"""


@dataclass(frozen=True)
class SeedTableSettings:
    """Settings of score.py seeds"""

    rows: list[str] = field(default_factory=list)
    """the YAML file of rows, as a free word"""
    out: str = ""
    """Markdown file for the table; the figures go beside it as JSON"""
    allow_missing: bool = False
    """leave out rows whose runs are not all finished, instead of stopping with their list"""
