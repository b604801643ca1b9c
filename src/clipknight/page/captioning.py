"""From what was dropped to captions, a few at a time, with what cannot be read told apart from the rest."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from clipknight.api.model import Model
from clipknight.data.images import UnreadableImage
from clipknight.data.video_timeline import Shot
from clipknight.embedding.embeddings import Embeddings, concatenate
from clipknight.page.limits import Limits
from clipknight.page.pictures import Pictures, pictures_of
from clipknight.page.uploads import Received

BATCH = 4  # files that are captioned before what there is is shown


@dataclass(frozen=True)
class Choices:
    """What a user chooses; 0 is what the way to caption was published with, `every` cuts clips into shots."""

    num_beams: int = 0
    rerank: int = 0
    frames: int = 5
    every: str = ""


@dataclass(frozen=True, eq=False)
class Captioned:
    """A picture, a clip or a `shot` of one, with its caption; `pictures` are small files that show it."""

    name: str
    path: str
    pictures: list[str]
    is_clip: bool = False
    shot: Shot | None = None
    caption: str = ""

    @property
    def shown(self) -> str:
        """The picture, or the middle frame, as a small file."""
        return self.pictures[len(self.pictures) // 2]

    @property
    def explained(self) -> str:
        """What is explained, and asked about: the file itself, of a clip its middle frame."""
        return self.shown if self.is_clip else self.path


@dataclass
class Results:
    """All of one upload, in `folder`: of `total` files `done` are captioned, others `refused`, with the reason.

    `predictions` are of the pictures, where the model predicts.
    """

    folder: Path
    refused: list[str] = field(default_factory=list)
    total: int = 0
    done: int = 0
    items: list[Captioned] = field(default_factory=list)
    predictions: Embeddings | None = None


def captioned(
    model: Model, found: Received, choices: Choices, results: Results, limits: Limits = Limits()
) -> Iterator[None]:
    """Add what is found to `results`, stopping whenever there are more to be shown."""
    started, left = time.monotonic(), list(found.files.items())
    while left:
        if time.monotonic() - started > limits.seconds:
            results.refused.append(
                f"Stopped after {limits.seconds:.0f} seconds, {len(left)} files before the end: give fewer at once."
            )
            return
        batch, left = left[:BATCH], left[BATCH:]
        readable = {}
        for name, path in batch:
            try:
                readable[name] = pictures_of(path, choices.frames, choices.every, results.folder, limits)
            except UnreadableImage as error:
                results.refused.append(f"{name}: {error.reason}")
        if readable:
            _caption_batch(model, readable, choices, results)
        yield


def _caption_batch(model: Model, readable: dict[str, Pictures], choices: Choices, results: Results) -> None:
    """Add captions of the batch to `results`, and predictions of its pictures where the model predicts."""
    names = {shown.path: name for name, shown in readable.items()}
    options = {"num_beams": choices.num_beams, "rerank": choices.rerank}
    options |= {"frames": choices.frames, "every": choices.every}
    table = model.caption(list(names), progress=False, **options)
    parts = [part for name, shown in readable.items() for part in _parts(name, shown)]
    captions = zip(parts, table["caption"], strict=True)
    results.items += [replace(part, caption=caption) for part, caption in captions]
    results.done += len(readable)
    pictures = [shown.path for shown in readable.values() if not shown.is_clip]
    if pictures and model.source.run:
        rows = model.predict(pictures, progress=False)
        rows = Embeddings([names[path] for path in rows.ids], rows.vectors, rows.meta)
        results.predictions = rows if results.predictions is None else concatenate([results.predictions, rows])


def _parts(name: str, shown: Pictures) -> list[Captioned]:
    """What has a caption of its own: the file, or each shot of a clip, named as `Model.caption` names it."""
    if not shown.shots:
        return [Captioned(name, shown.path, shown.files, shown.is_clip)]
    each = len(shown.files) // len(shown.shots)
    return [
        Captioned(shot.part_of(name), shown.path, shown.files[number * each : (number + 1) * each], True, shot)
        for number, shot in enumerate(shown.shots)
    ]
