"""Peak memory of each command at 1,000, 10,000 and 100,000 images, with encoders so small that the rows alone count.

    python benchmarks/memory.py [--rows 1000 10000] [--commands caption.py] [--write]

Each command is a process of its own, and its own peak is measured, without the processes that read images for it. A
tenth of the images is the valid split, and a tenth the test split. The 40-pixel pictures are links to 996; the encoders
are the tests' (16 and 24 numbers a row), so seconds tell nothing of real ones. torch encodes: another backend, which
comes in where there is much to encode, takes a hundred MB for itself.
"""

import csv
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from clipknight.errors import user_errors
from clipknight.paths import ROOT
from clipknight.ranges import PositiveCount
from clipknight.settings import parse

import numpy as np
from machine_measures import hardware
from marked_tables import table, write_between_marks

CAPTIONS, PICTURES = 2, 996  # captions of an image; pictures that differ, as many of each colour


@dataclass(frozen=True)
class Settings:
    """Settings of memory.py"""

    rows: list[PositiveCount] = field(default_factory=lambda: [1_000, 10_000, 100_000])
    """numbers of images"""
    commands: list[str] = field(default_factory=list)
    """those to measure, by the first words of their rows; the others run all the same, where these need them"""
    write: bool = False
    """put the table into benchmarks/README.md"""


@user_errors
def main(argv=None) -> None:
    s = parse(Settings, argv, __doc__)
    found = {rows: measured(rows, s.commands) for rows in s.rows}
    lines = [f"On {hardware()}; MB at the peak:\n"]
    header = ["command", *(f"{rows:,} images" for rows in s.rows), "bytes more an image", f"seconds for {s.rows[-1]:,}"]
    cells = []
    for command in found[s.rows[0]]:
        peaks = [found[rows][command][0] for rows in s.rows]
        more = (peaks[-1] - peaks[0]) / max(1, s.rows[-1] - s.rows[0]) * 2**20
        cells.append([command, *(f"{p:,.0f}" for p in peaks), f"{more:,.0f}", f"{found[s.rows[-1]][command][1]:,.0f}"])
    text = "\n".join([*lines, *table(header, cells)]) + "\n"
    print(f"\n{text}")
    if s.write:
        write_between_marks("memory.py", text)


def measured(rows: int, wanted: list[str]) -> dict[str, tuple[float, float]]:
    """(peak MB, seconds) of each command, in an outputs/ of its own."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for command, words in commands(write_data(Path(folder), rows)).items():
            print(f"{rows:,}: {command} ...", end=" ", flush=True)
            peak, seconds = peak_and_seconds(words, Path(folder))
            print(f"{peak:,.0f} MB, {seconds:.0f} s", flush=True)
            if not wanted or command.startswith(tuple(wanted)):
                found[command] = peak, seconds
    return found


def write_data(folder: Path, rows: int) -> Path:
    """Encoders, and a table of `rows` pictures with their captions."""
    from PIL import Image
    from tiny_models import CAPTIONS as WORDINGS
    from tiny_models import COLOURS, write_clip, write_colour_encoder

    write_clip(folder / "clip"), write_colour_encoder(folder / "target")
    (folder / "images").mkdir()
    draw = np.random.default_rng(0)
    for number in range(PICTURES):
        shade = np.array(list(COLOURS.values())[number % len(COLOURS)]) + draw.normal(0, 20, 3)
        Image.new("RGB", (40, 40), tuple(shade.clip(0, 255).astype(int))).save(folder / f"{number}.png")
    with open(folder / "data.csv", "w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file)
        lines.writerow(["image", "caption", "split"])
        for number in range(rows):
            colour = list(COLOURS)[number % len(COLOURS)]
            os.link(folder / f"{number % PICTURES}.png", folder / "images" / f"{number:06}.png")
            split = {0: "valid", 1: "test"}.get(number % 10, "train")
            for wording in WORDINGS[:CAPTIONS]:
                lines.writerow([f"{number:06}.png", wording.format(f"{colour} {number}"), split])
    return folder


def commands(folder: Path) -> dict[str, list[str]]:
    """What is measured, in order: later ones use what earlier ones made."""
    data = f"--data {folder}/data.csv --images {folder}/images --target_encoder {folder}/target --device cpu"
    clip, torch, once = f"--encoder {folder}/clip --precision fp32", "--backend torch", "--epochs 1 --batch_size 256"
    tiny = "--layers 1 --width 64 --vocabulary 300 --max_tokens 8 --index ivf --precision fp32"
    words = {
        "embed.py": f"embed.py {data} {clip} {torch}",
        "train_a.py, an epoch": f"train_a.py {data} {clip} {once} --head_epochs 1 --run a",
        "train_b.py": f"train_b.py {data} {clip} {torch} --n_neighbors 100 --run b",
        "refine.py": f"refine.py {data} {torch} --from b --n_neighbors 100 --run refined",
        "blend.py": f"blend.py {data} --members b refined --run ensemble",
        "submit.py": f"submit.py --run ensemble --out {folder}/submission.csv",
        "score.py submission": f"score.py submission --submission {folder}/submission.csv --captions {folder}/data.csv "
        f"--target_encoder {folder}/target --allow_partial",
        "predict.py of a folder": f"predict.py --run ensemble --images {folder}/images {torch} --out {folder}/rows",
        "filter_captions.py": f"filter_captions.py {data} --out {folder}/kept.csv",
        "train_knight.py, an epoch": f"train_knight.py {data} {torch} {once} {tiny} --from ensemble --run knight",
        "caption.py of a folder": f"caption.py {folder}/images {torch} --run knight --num_beams 1 --max_tokens 4 "
        f"--out {folder}/captions.csv",
    }
    return {command: line.split() for command, line in words.items()}


def peak_and_seconds(words: list[str], outputs: Path) -> tuple[float, float]:
    """MB and seconds of a script. RuntimeError with its last words if it fails."""
    environment = os.environ | {"CLIPKNIGHT_OUTPUTS": str(outputs / "outputs")}
    with tempfile.TemporaryFile() as printed:
        start = time.perf_counter()
        command = [sys.executable, str(ROOT / "src" / words[0]), *words[1:]]
        process = subprocess.Popen(command, env=environment, stdout=printed, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)
        if status:
            printed.seek(0)
            raise RuntimeError(f"{' '.join(words)}: {printed.read().decode()[-500:]}")
        return used.ru_maxrss / 1024, time.perf_counter() - start


if __name__ == "__main__":
    main()
