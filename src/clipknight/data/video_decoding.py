"""Frames out of video files (by ffmpeg) and animated GIF and WebP (by Pillow), one in memory at a time.

A file is read twice: once whole without decoding, for when its frames are shown and whether all of it is there; then
from keyframe to keyframe, decoding what lies before the frames that are wanted.
"""

from __future__ import annotations

import os
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from clipknight.data.animations import animation_frames, animation_starts, is_animation
from clipknight.data.video_timeline import (
    WHOLE,
    Shot,
    Timeline,
    UnreadableVideo,
    middles,
    opened,
    places_in_shots,
    read_timeline,
    video_stream,
)

from PIL import Image

if TYPE_CHECKING:  # an extra: imported where it is needed
    import av
    from av.container import InputContainer

SEEK_OVER = 100  # frames; to get past fewer, decoding them costs little and finds damage


def evenly_spaced_frames(path: str, count: int, shots: Sequence[Shot] = ()) -> Iterator[Image.Image]:
    """See `clipknight.data.videos.read_frames`; with `shots`, so many frames of each."""
    if count < 1:
        raise ValueError(f"{count} frames of a clip: ask for at least 1")
    with reading(path):
        yield from (animation_frames if is_animation(path) else _video_frames)(path, count, shots)


def frame_starts(path: str) -> tuple[list[float], float]:
    """Seconds from the first frame to each, and to the end of the last. UnreadableVideo where the file does not say."""
    with reading(path):
        if is_animation(path):
            return animation_starts(path)
        if not (starts := read_timeline(path).starts):
            raise UnreadableVideo(path, "the file does not say when its frames are shown")
        return starts, starts[-1] + starts[-1] / max(len(starts) - 1, 1)


@contextmanager
def reading(path: str) -> Iterator[None]:
    """What fails meanwhile is an UnreadableVideo, but for what is missing here."""
    try:
        if os.path.getsize(path) == 0:
            raise UnreadableVideo(path, "the file is empty")
        yield
    except (UnreadableVideo, MemoryError, ModuleNotFoundError):
        raise
    except Exception as error:  # decoders meet broken data with errors of many types
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        by_the_system = isinstance(error, OSError) and error.errno and not type(error).__module__.startswith("av.")
        raise UnreadableVideo(path, reason if by_the_system else f"damaged or cut off ({reason})") from error


def _video_frames(path: str, count: int, shots: Sequence[Shot]) -> Iterator[Image.Image]:
    timeline = read_timeline(path)
    places = places_in_shots(timeline.starts, shots, count) if shots else middles(timeline.total, count)
    yield from _frames_at(places, path, timeline)


class _Shown(NamedTuple):
    place: int
    frame: av.VideoFrame


def _frames_at(places: Sequence[int], path: str, timeline: Timeline, may_seek: bool = True) -> Iterator[Image.Image]:
    """The frames at these places, which rise, in the order of frames; the next one for a frame that is never shown."""
    with opened(path) as container:
        stream = video_stream(path, container)
        frames, shown = _decoded(container, stream, timeline), None
        for i, place in enumerate(places):
            target = _where_to_seek(timeline, shown.place if shown else 0, place) if may_seek else None
            if target is not None:
                container.seek(target, stream=stream)
                frames = _decoded(container, stream, timeline, sought=True)
                shown = next(frames, None)
                if shown is None or shown.place > place:  # the index is off
                    yield from _frames_at(places[i:], path, timeline, may_seek=False)
                    return
            while shown is None or shown.place < place:
                previous, shown = shown, next(frames, None)
                if shown is None:
                    if previous is None or previous.place < WHOLE * timeline.total:
                        raise UnreadableVideo(path, "damaged or cut off: its last frames cannot be decoded")
                    shown = previous._replace(place=timeline.total)
            yield _as_seen(shown.frame, stream)


def _decoded(
    container: InputContainer, stream: av.VideoStream, timeline: Timeline, sought: bool = False
) -> Iterator[_Shown]:
    first = 0
    for number, frame in enumerate(container.decode(stream)):
        if timeline.trusted:
            yield _Shown(bisect_left(timeline.times, frame.pts), frame)
            continue
        if number == 0 and sought:  # a keyframe, and of these the time is right
            first = bisect_left(timeline.times, frame.pts)
        yield _Shown(first + number, frame)


def _where_to_seek(timeline: Timeline, here: int, place: int) -> int | None:
    """The last keyframe up to `place`, if to start there saves decoding more than SEEK_OVER frames."""
    at = bisect_right(timeline.keyframes, place, key=lambda keyframe: keyframe[0]) - 1
    if at < 0 or timeline.keyframes[at][0] - here <= SEEK_OVER:
        return None
    return timeline.keyframes[at][1]


def _as_seen(frame: av.VideoFrame, stream: av.VideoStream) -> Image.Image:
    """As RGB, with square pixels, the right way up."""
    image = frame.to_image()
    shape = stream.sample_aspect_ratio
    if shape and shape != 1 and 1 / 4 < shape < 4:  # others are mistakes
        image = image.resize((round(image.width * shape), image.height))
    return image.rotate(frame.rotation, expand=True) if frame.rotation else image
