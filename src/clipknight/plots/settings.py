"""Settings of what score.py has drawn; nothing heavy is imported here."""

from dataclasses import dataclass, field

from clipknight.paths import outputs
from clipknight.ranges import Name


@dataclass(frozen=True)
class LadderSettings:
    """Settings of score.py ladder"""

    runs: list[str] = field(default_factory=list)
    """names of runs, as free words"""
    labels: list[str] = field(default_factory=list)
    """what to call them; by default their names"""
    out: str = field(default_factory=lambda: str(outputs() / "ladder.json"))
    """JSON file; the table (.md) and the picture (.png) go beside it"""


@dataclass(frozen=True, kw_only=True)
class CoverageSettings:
    """Settings of score.py coverage"""

    candidates: Name
    """captions with their confidences, as caption.py writes them: CSV or JSON"""
    references: Name
    """captions people wrote, as many an image as there are: CSV of image,caption, COCO's JSON, JSON of lists by file"""
    allow_partial: bool = False
    """leave out images with references that have no candidate; otherwise they are an error"""
    out: str = field(default_factory=lambda: str(outputs() / "coverage.json"))
    """JSON file; the table (.md) and the picture (.png) go beside it"""
