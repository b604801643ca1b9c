"""The metrics of captions by name, and settings of score.py's tables; nothing heavy is imported here."""

from dataclasses import dataclass, field

METRICS = ("Bleu", "METEOR", "ROUGE_L", "CIDEr", "SPICE")


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
