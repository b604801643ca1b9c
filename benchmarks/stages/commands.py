"""Commands as one types them, each a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

from clipknight.paths import ROOT
from stages.base import Stage

from machine_limits import Limits, median_seconds, timed

# The package first: it mends a torchvision that does not fit its torch.
BEGIN = f"import sys; sys.path.insert(0, {str(ROOT / 'src')!r}); import clipknight, torch"
LIBRARIES = f"{BEGIN}, open_clip, transformers"


class Command(Stage):
    """One command, which writes below `folder`."""

    unit, items, is_long, warms_up = "", 1, True, False

    def __init__(self, folder: Path, quick: bool):
        self.folder = folder


class Help(Command):
    name = "until `--help` or a typo is answered"
    written = "a script that imports torch, open_clip and transformers first"
    bound_by = "Python's own start"

    def plain(self) -> None:
        run(["-c", LIBRARIES], self.folder)

    def ours(self) -> None:
        run([str(ROOT / "src" / "caption.py"), "--help"], self.folder)

    def least_seconds(self, limits: Limits) -> float:
        return median_seconds(lambda: run(["-c", ""], self.folder))


class FirstCaption(Command):
    name = "the first `caption.py photo.jpg`, with the starter's four models"
    written = ""
    bound_by = "importing torch"
    count = 0

    def ours(self) -> None:
        self.count += 1
        self.caption(self.folder / f"outputs{self.count}")

    def caption(self, outputs: Path) -> None:
        run([str(ROOT / "src" / "caption.py"), str(ROOT / "docs" / "pictures" / "photographer.jpg")], outputs)

    def least_seconds(self, limits: Limits) -> float:
        return timed(lambda: run(["-c", BEGIN], self.folder))


class NextCaption(FirstCaption):
    name = "the next, whose outputs/ has the photo's embedding"
    warms_up = True

    def ours(self) -> None:
        self.caption(self.folder)


def run(words: list[str], outputs: Path) -> None:
    """Python with these words, silent. CalledProcessError where it fails."""
    environment = os.environ | {"CLIPKNIGHT_OUTPUTS": str(outputs), "CLIPKNIGHT_CACHE": str(outputs / "cache")}
    subprocess.run([sys.executable, *words], env=environment, check=True, capture_output=True, stdin=subprocess.DEVNULL)
