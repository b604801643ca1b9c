"""Images and videos to caption together: the videos' frames are images too."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from clipknight.captioning.captioner import Captioner, CaptionOptions
from clipknight.data.datasets import Dataset, listed_images
from clipknight.data.media_sources import find_media
from clipknight.data.shots import shots_by_path
from clipknight.data.video_timeline import Shot
from clipknight.data.videos import frame_files, is_video
from clipknight.embedding.embeddings import UNFAMILIAR, Embeddings
from clipknight.training.run_datasets import dataset_of, images_of_split
from clipknight.training.runs import Run

import numpy as np


@dataclass(frozen=True)
class Confidence:
    """`expected`: the cosine to a person's caption that is expected; `unfamiliar`: lower than of nearly all photos.

    It is that too where a member of the ensemble recognises nothing, `clipknight.ensemble.gate`.
    """

    expected: float
    unfamiliar: bool

    def __str__(self) -> str:
        return f"confidence {self.expected:.2f}" + ", unlike anything it has seen" * self.unfamiliar


@dataclass(frozen=True, eq=False)
class MediaSet:
    """`dataset` holds the images and every frame; `clips` names the frames of each video, in order, all equally many.

    `references` are the captions that images have already; `shots` say when each of `clips` is shown, where videos are
    cut into shots: a shot is a clip of its own.
    """

    dataset: Dataset
    clips: dict[str, list[str]] = field(default_factory=dict)
    references: dict[str, list[str]] = field(default_factory=dict)
    shots: dict[str, Shot] = field(default_factory=dict)

    @classmethod
    def found(
        cls, paths: Sequence[str], frames: int, workers: int = 2, skip_unreadable: bool = False, every: str = ""
    ) -> "MediaSet":
        """What lies in `paths`, files and folders; `frames` of each video, evenly spaced. ValueError for nothing."""
        media = cls.of_files(find_media(paths), frames, workers, skip_unreadable, every)
        if not len(media.dataset):
            raise ValueError("none of the videos can be read")
        return media

    @classmethod
    def of_files(
        cls, media: Mapping[str, str], frames: int, workers: int = 2, skip_unreadable: bool = False, every: str = ""
    ) -> "MediaSet":
        """The files `media` by name; empty where they are videos that cannot be read, and are skipped.

        With `every`, videos are cut as `shots_of` does: a shot is called as the video, and "#t=" its start and end.
        """
        videos = {name: path for name, path in media.items() if is_video(path)}
        options = {"workers": max(1, workers), "skip_unreadable": skip_unreadable}
        cut = shots_by_path(videos.values(), every, **options) if every else {}
        readable = [path for path in videos.values() if path in cut or not every]
        files = frame_files(readable, frames, shots=cut, **options)
        clips, shots = {}, {}
        for name, path in ((name, path) for name, path in videos.items() if path in files):
            for number, shot in enumerate(cut.get(path, [None])):
                part = shot.part_of(name) if shot else name
                clips[part] = files[path][number * frames : (number + 1) * frames]
                shots |= {part: shot} if shot else {}
        images = {name: path for name, path in media.items() if name not in videos}
        images |= {frame: frame for names in clips.values() for frame in names}
        return cls(listed_images(images), clips, shots=shots)

    @classmethod
    def of_split(
        cls,
        run: Run,
        split: str,
        data: str = "",
        limit: int = 0,
        device: str = "auto",
        skip_unreadable: bool = False,
    ) -> "MediaSet":
        """The first `limit` images (0: all) of a split of `data`, or of what `run` was made on. ValueError."""
        if not data and not dataset_of(run).data:
            raise ValueError(f"{run.name} names no dataset: say which one's {split} split, --data DATASET")
        dataset = images_of_split(run, split, data, device, skip_unreadable)
        if dataset.media == "video":
            raise ValueError(f"{dataset.name} holds videos: name its folder as a path instead of --data")
        dataset = dataset.first(limit) if limit else dataset
        return cls(dataset, references=dataset.caption_lists())

    def grouped(self, rows: Embeddings) -> Iterator[tuple[list[str], np.ndarray, np.ndarray | None]]:
        """Names, vectors and sub-regions in `rows` of the images, (N, D) and (N, n, D); then of the videos.

        Those have a row for each frame, (N, m, D) and (N, m, n, D).
        """
        frames = [frame for names in self.clips.values() for frame in names]
        among_frames = set(frames)
        if images := [name for name in rows.ids if name not in among_frames]:
            found = rows.aligned_to(images)
            yield images, found.vectors, found.regions
        if frames:
            found, shape = rows.aligned_to(frames), (len(self.clips), -1)
            regions = None if found.regions is None else found.regions.reshape(*shape, *found.regions.shape[1:])
            yield list(self.clips), found.vectors.reshape(*shape, rows.dim), regions

    def captioned(
        self, captioner: Captioner, rows: Embeddings, options: CaptionOptions | None = None
    ) -> Iterator[tuple[str, str, list[tuple[str, float]]]]:
        """Name, caption and nearest captions with their cosines, of the images in `rows`, then of the videos."""
        for names, vectors, regions in self.grouped(rows):
            captions = captioner.caption(vectors, options, regions)
            yield from zip(names, captions.texts, captioner.reasons(captions), strict=True)

    @property
    def cut(self) -> dict[str, list[str]]:
        """The names of the shots of each video that is cut into them."""
        parts: dict[str, list[str]] = {}
        for name in self.shots:
            parts.setdefault(name.rpartition("#t=")[0], []).append(name)
        return parts

    def confidences(self, rows: Embeddings) -> dict[str, Confidence]:
        """Of each image in `rows` and of each video, if what gave the rows is sure of some and unsure of others."""
        if (least := rows.meta.get(UNFAMILIAR)) is None:
            return {}
        lengths = dict(zip(rows.ids, np.linalg.norm(rows.vectors, axis=1), strict=True))
        known = {name: float(lengths[name]) for name in lengths} | {
            name: float(np.mean([lengths[frame] for frame in frames])) for name, frames in self.clips.items()
        }
        return {name: Confidence(value, value < least) for name, value in known.items()}

    def pictures(self, name: str) -> list[str]:
        """The path of an image, or those of a video's frames."""
        return [self._paths[frame] for frame in self.clips.get(name, [name])]

    @cached_property
    def _paths(self) -> dict[str, str]:
        return dict(zip(self.dataset.images["id"], self.dataset.images["path"], strict=True))
