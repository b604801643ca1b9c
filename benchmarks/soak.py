"""An hour of captioning a stream of drawn pictures and clips under a memory limit: does the process grow?

    python benchmarks/soak.py                                  an hour with the starter
    python benchmarks/soak.py --minutes 2 --every 0.2          a look at it

The pictures and clips are those of the built-in sample, new ones in each round, drawn as they are captioned.
The limit is the kernel's on a process's own memory (RLIMIT_DATA): beyond it an allocation fails, and the benchmark with
it. Growth is the slope of a line through the resident memory after the warm-up.
"""

import csv
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from clipknight.api.loading import load
from clipknight.errors import user_errors
from clipknight.sample.scenes import draw_clips, draw_scenes
from clipknight.settings import parse
from make_sample import save_clip, save_picture

import numpy as np
import torch
from machine_measures import hardware, memory_mib


@dataclass(frozen=True)
class Settings:
    """Settings of soak.py"""

    run: str = "starter"
    """what captions"""
    minutes: float = 60
    """how long"""
    warm_up: float = 5
    """minutes whose growth does not count: weights are loaded and buffers find their size"""
    every: float = 5
    """minutes between two rows of the table"""
    limit_gib: float = 5
    """memory that the process may hold"""
    pictures: int = 64
    """of a round"""
    clips: int = 2
    """of a round"""
    batch_size: int = 16
    """images encoded, and captions decoded, at a time"""
    threads: int = 1
    """that compute"""
    out: str = "outputs/soak.csv"
    """rows of minutes, captions and resident MiB, one a round"""


@user_errors
def main(argv=None) -> None:
    s = parse(Settings, argv, __doc__)
    resource.setrlimit(resource.RLIMIT_DATA, (int(s.limit_gib * 2**30),) * 2)
    torch.set_num_threads(s.threads)
    print(
        f"{s.run}, {s.pictures} pictures and {s.clips} clips a round, limit {s.limit_gib} GiB of the process's memory\n"
    )
    print("| minutes | captions | resident, MiB | own memory (limited), MiB |\n|---:|---:|---:|---:|", flush=True)
    rows, shown = [], -s.every
    Path(s.out).parent.mkdir(parents=True, exist_ok=True)
    with open(s.out, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["minutes", "captions", "resident_mib", "data_mib"])
        for row in captioned_rounds(s):
            rows.append(row)
            table.writerow(row)
            file.flush()
            if row[0] - shown >= s.every or row[0] >= s.minutes:
                print("| {:.1f} | {:,} | {:.0f} | {:.0f} |".format(*row), flush=True)
                shown = row[0]
    print_growth(s, np.array(rows))


def captioned_rounds(s: Settings) -> Iterator[tuple[float, int, float, float]]:
    """After each round: minutes since the start, captions so far, resident memory and what is limited of it, in MiB."""
    model, start, captions, seed = load(s.run, batch_size=s.batch_size), time.monotonic(), 0, 0
    while (minutes := (time.monotonic() - start) / 60) < s.minutes or not captions:
        with tempfile.TemporaryDirectory() as folder:
            found = model.caption(drawn(s, Path(folder), seed), progress=False)
        if not (found["caption"].str.len() > 0).all() or len(found) != s.pictures + s.clips:
            raise ValueError(f"round {seed} has {len(found)} captions, some of them empty: {found.to_string()[:300]}")
        captions, seed = captions + len(found), seed + 1
        minutes = (time.monotonic() - start) / 60
        yield round(minutes, 2), captions, round(memory_mib("VmRSS"), 1), round(memory_mib("VmData"), 1)


def drawn(s: Settings, folder: Path, seed: int) -> list[str]:
    """The files of a round's pictures and clips."""
    pictures = [save_picture(folder, seed, scene, "test")["file"] for scene in draw_scenes(s.pictures, seed)]
    clips = [save_clip(folder, seed, clip, ("mp4", "gif")[i % 2]) for i, clip in enumerate(draw_clips(s.clips, seed))]
    return [str(folder / name) for name in (*pictures, *clips)]


def print_growth(s: Settings, rows: np.ndarray) -> None:
    warm = rows[rows[:, 0] >= s.warm_up]
    print(f"\n{len(rows)} rounds; peak {memory_mib('VmHWM'):.0f} MiB resident, {hardware()}")
    if len(warm) > 2:
        slope = np.polyfit(warm[:, 0] / 60, warm[:, 2], 1)[0]
        span = f"{warm[:, 2].min():.0f} to {warm[:, 2].max():.0f} MiB"
        print(f"after {s.warm_up:g} minutes: {span}, the line through them rises {slope:+.1f} MiB an hour")


if __name__ == "__main__":
    main()
