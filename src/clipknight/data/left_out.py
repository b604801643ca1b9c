"""What --skip_unreadable leaves out of a dataset: listed in a file, for whoever wants to mend it."""

from pathlib import Path

from clipknight.data.folders import print_once
from clipknight.data.images import find_unreadable
from clipknight.files import atomic_file
from clipknight.messages import a_few
from clipknight.paths import caches
from clipknight.processes import in_main_process

import numpy as np
import pandas as pd


def write_left_out(root: Path, why: str, rows: pd.DataFrame) -> Path:
    """Write the rows as `<dataset>-<why>.csv`, and return that path."""
    path = caches() / "left_out" / f"{root.parent.name}-{root.name}-{why}.csv"
    if in_main_process():
        with atomic_file(path) as temporary:
            rows.to_csv(temporary, index=False)
    return path


def unreadable_ids(images: pd.DataFrame, root: Path) -> np.ndarray:
    """The ids of the images (id, path) that cannot be decoded. All are, at each call: a mended one is back at once."""
    reasons = find_unreadable(images["path"].tolist())
    if reasons:
        rows = pd.DataFrame({"path": list(reasons), "reason": list(reasons.values())})
        file = write_left_out(root, "unreadable", rows)
        names = a_few([Path(path).name for path in reasons], 3)
        print_once(f"left out: {len(reasons):,} images to learn from that cannot be read: {names}, all in {file}")
    return images["id"][images["path"].isin(list(reasons))].to_numpy(dtype=object)
