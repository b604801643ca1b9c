"""The stages where people wait, in the order of the table."""

from stages.captions import CaptionFilter, Captions, CaptionTargets
from stages.commands import FirstCaption, Help, NextCaption
from stages.images import ImageEmbeddings, Photographs, PictureFolder
from stages.rows import Neighbors, Submission
from stages.training import Epoch, FineTuning

STAGES = [
    Help,
    FirstCaption,
    NextCaption,
    Photographs,
    ImageEmbeddings,
    PictureFolder,
    CaptionTargets,
    FineTuning,
    Epoch,
    Captions,
    Neighbors,
    CaptionFilter,
    Submission,
]
