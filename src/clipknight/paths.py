"""Where the project's folders are, whatever folder a command is called from."""

import os
from pathlib import Path

_CHECKOUT = Path(__file__).resolve().parents[2]
ROOT = _CHECKOUT if (_CHECKOUT / "src" / "clipknight").is_dir() else Path.cwd()  # installed without a checkout: here
OUTPUTS = Path(os.environ.get("CLIPKNIGHT_OUTPUTS", ROOT / "outputs")).absolute()  # set it to use another disk
STARTER = "input/models/starter/knight"  # the run of packed weights, from `existing`


def existing(path: str | Path) -> Path:
    """`path` from the present folder, or else from the project's root or its outputs; unchanged when in none."""
    path = Path(path)
    candidates = (path, ROOT / path, OUTPUTS / path)
    return next((candidate for candidate in candidates if candidate.exists()), path)
