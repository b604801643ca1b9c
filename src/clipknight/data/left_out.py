"""What --skip_unreadable leaves out of a dataset: listed in a file, for whoever wants to mend it."""

from pathlib import Path

from clipknight.files import atomic_file
from clipknight.paths import OUTPUTS
from clipknight.processes import in_main_process

import pandas as pd

FOLDER = OUTPUTS / "left_out"


def write_left_out(root: Path, why: str, rows: pd.DataFrame) -> Path:
    """Write the rows as `<dataset>-<why>.csv`, and return that path."""
    path = FOLDER / f"{root.parent.name}-{root.name}-{why}.csv"
    if in_main_process():
        with atomic_file(path) as temporary:
            rows.to_csv(temporary, index=False)
    return path
