"""CPU seconds and peak memory until a command answers: --help, a typo, the first caption of a photo, the next one.

    python benchmarks/start_speed.py [--photo photo.jpg]

Each command is a process of its own, with an outputs/ that begins empty; Python's own start stands beside them. CPU
seconds are of all cores together; those of the clock depend on what else the machine does.
"""

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from clipknight.errors import user_errors
from clipknight.paths import ROOT
from clipknight.settings import parse

from machine_measures import hardware


@dataclass(frozen=True)
class Settings:
    """Settings of start_speed.py"""

    photo: str = str(ROOT / "docs" / "pictures" / "photographer.jpg")
    """what is captioned"""


@user_errors
def main(argv=None) -> None:
    s = parse(Settings, argv, __doc__)
    caption = [str(ROOT / "src" / "caption.py"), s.photo]
    commands = {
        "Python alone": ["-c", ""],
        "caption.py --help": [caption[0], "--help"],
        "caption.py --hlep": [caption[0], "--hlep"],
        "the first caption": caption,
        "the next": caption,
    }
    print("| command | CPU seconds | seconds | peak MB |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as outputs:
        for name, words in commands.items():
            start = time.perf_counter()
            used = measured(words, outputs)
            seconds, cpu = time.perf_counter() - start, used.ru_utime + used.ru_stime
            print(f"| {name} | {cpu:.2f} | {seconds:.1f} | {used.ru_maxrss / 1024:.0f} |", flush=True)
    print(f"\n{hardware()}")


def measured(words: list[str], outputs: str):
    """What a Python process with these words used (resource.struct_rusage)."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "stdin": subprocess.DEVNULL}
    process = subprocess.Popen([sys.executable, *words], env=os.environ | {"CLIPKNIGHT_OUTPUTS": outputs}, **quiet)
    return os.wait4(process.pid, 0)[2]


if __name__ == "__main__":
    main()
