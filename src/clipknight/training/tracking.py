"""Following a training while it runs, by accelerate's trackers: TensorBoard in the run's folder, W&B, trackio.

They get what metrics.jsonl gets, and besides the loss and the rate of each step, and pictures with captions. Nothing is
read back from them: a training is the same with any of them, and with none.
"""

import textwrap
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from clipknight.data.images import UnreadableImage, read_image
from clipknight.messages import shortened
from clipknight.processes import in_main_process
from clipknight.training.run_folders import TENSORBOARD
from clipknight.training.settings import tracker_named

import numpy as np
from PIL import Image, ImageDraw, ImageFont

PROJECT = "clipknight"
SHOWN = 4  # pictures with their captions
SIDE, LINE, LETTERS = 224, 14, 34  # pixels of a picture's side and of a line under it, and letters that fit in one


class Tracking:
    """Where a run's numbers go; nowhere in other processes than the main one. `steps` of it are done already."""

    def __init__(self, run, track: str, steps: int):
        self.name = tracker_named(track) if in_main_process() else ""
        if not self.name:
            return
        from accelerate.tracking import LOGGER_TYPE_TO_CLASS

        tracker = LOGGER_TYPE_TO_CLASS[self.name]
        if self.name == "tensorboard":  # which forgets what came after the last save
            self.tracker = tracker(TENSORBOARD, logging_dir=str(run.folder), purge_step=steps + 1)
        else:
            folder = {"dir": str(run.folder)} if self.name == "wandb" else {}  # trackio keeps all runs in one place
            name = str(Path(run.name).relative_to(Path(run.name).anchor))  # which trackio makes a path of
            self.tracker = tracker(PROJECT, name=name, config=dict(run.settings), **folder)
        try:
            self.tracker.start()
        except ImportError as error:
            if track != "auto":
                raise
            print(f"{self.name} is installed and does not load ({shortened(error)}): the training is not followed")
            self.name = ""

    def log(self, values: Mapping, step: int) -> None:
        """Those of the values that are numbers."""
        if self.name:
            self.tracker.log({name: value for name, value in values.items() if _is_number(value)}, step=step)

    def show(self, captions: Mapping[str, str], step: int) -> None:
        """The first pictures, by their files, each with its caption."""
        if not self.name or not captions:
            return
        pictures = captioned_pictures(dict(list(captions.items())[:SHOWN]))
        if self.name == "tensorboard":
            self.tracker.log_images({"captions": pictures[None]}, step=step, dataformats="NHWC")
        elif self.name == "wandb":
            self.tracker.log_images({"captions": [pictures]}, step=step)
        else:
            import trackio

            self.tracker.log({"captions": trackio.Image(pictures)}, step=step)

    def finish(self) -> None:
        if self.name:
            self.tracker.finish()
            self.name = ""


def _is_number(value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def captioned_pictures(captions: Mapping[str | Path, str]) -> np.ndarray:
    """(height, width, 3): the pictures of those files beside one another, with their captions under them."""
    texts = [_lines(caption) for caption in captions.values()]
    sheet = Image.new("RGB", (SIDE * len(texts), SIDE + LINE * max(map(len, texts))), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(LINE - 2)
    for i, (file, lines) in enumerate(zip(captions, texts)):
        with suppress(UnreadableImage):  # of predictions that were saved, the pictures may be gone
            picture = read_image(file)
            picture.thumbnail((SIDE, SIDE))
            sheet.paste(picture, (SIDE * i, 0))
        for row, line in enumerate(lines):
            draw.text((SIDE * i + 4, SIDE + LINE * row), line, "black", font)
    return np.asarray(sheet)


def _lines(caption: str) -> list[str]:

    return textwrap.wrap(caption, LETTERS)[:4] or [""]
