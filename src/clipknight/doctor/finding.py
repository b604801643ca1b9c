"""One line of the report, and the report as a table."""

from dataclasses import dataclass
from typing import Literal

NAME_WIDTH = 12


@dataclass(frozen=True)
class Finding:
    """What was found of one thing. `missing` costs a feature, `broken` the core; either has a remedy."""

    name: str
    value: str
    remedy: str = ""
    state: Literal["ok", "missing", "broken"] = "ok"

    def __str__(self) -> str:
        mark = "" if self.state == "ok" else self.state
        line = f"{mark:<8} {self.name:<{NAME_WIDTH}} {self.value}"
        return f"{line}\n{'':>{9 + NAME_WIDTH}} -> {self.remedy}" if self.remedy else line
