"""Settings of what score.py has drawn; nothing heavy is imported here."""

from dataclasses import dataclass, field

from clipknight.paths import outputs


@dataclass(frozen=True)
class LadderSettings:
    """Settings of score.py ladder"""

    runs: list[str] = field(default_factory=list)
    """names of runs, as free words"""
    labels: list[str] = field(default_factory=list)
    """what to call them; by default their names"""
    out: str = field(default_factory=lambda: str(outputs() / "ladder.json"))
    """JSON file; the table (.md) and the picture (.png) go beside it"""
