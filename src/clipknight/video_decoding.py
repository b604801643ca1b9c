"""Frames out of video files (by ffmpeg) and animated GIF and WebP (by Pillow), one in memory at a time.

A file is read twice: once whole without decoding, for when its frames are shown and whether all of it is there; then
from keyframe to keyframe, decoding what lies before the frames that are wanted.
"""

import os
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from clipknight.images import MAX_PIXELS, UnreadableImage

import av
from av.stream import Disposition
from PIL import Image, UnidentifiedImageError

ANIMATIONS = ("GIF", "WEBP")  # ffmpeg takes a GIF cut short for a whole one, and can't read animated WebP
SEEK_OVER = 100  # frames; to get past fewer, decoding them costs little and finds damage
WHOLE = 0.9  # of the declared length; headers are often off by some frames


class UnreadableVideo(UnreadableImage):
    """A clip that cannot be decoded; `path` and `reason`."""


def evenly_spaced_frames(path: str, count: int) -> Iterator[Image.Image]:
    """See `clipknight.videos.read_frames`."""
    if count < 1:
        raise ValueError(f"{count} frames of a clip: ask for at least 1")
    try:
        if os.path.getsize(path) == 0:
            raise UnreadableVideo(path, "the file is empty")
        yield from (_animation_frames if _is_animation(path) else _video_frames)(path, count)
    except (UnreadableVideo, MemoryError):
        raise
    except Exception as error:  # decoders meet broken data with errors of many types
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        by_the_system = isinstance(error, OSError) and error.errno and not isinstance(error, av.FFmpegError)
        raise UnreadableVideo(path, reason if by_the_system else f"damaged or cut off ({reason})") from error


def _middles(total: int, count: int) -> list[int]:
    return [(2 * i + 1) * total // (2 * count) for i in range(count)]


def _check_size(path: str, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise UnreadableVideo(path, f"{width:,} x {height:,} pixels are more than {MAX_PIXELS:,}; make it smaller")


def _is_animation(path: str) -> bool:
    try:
        with Image.open(path, formats=ANIMATIONS):
            return True
    except UnidentifiedImageError:
        return False


def _animation_frames(path: str, count: int) -> Iterator[Image.Image]:
    with Image.open(path, formats=ANIMATIONS) as image:
        _check_size(path, *image.size)
        white = Image.new("RGBA", image.size, "white")
        for number in _middles(image.n_frames, count):
            image.seek(number)
            yield Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
        image.seek(image.n_frames - 1)
        image.load()  # fails where the file was cut off


def _video_frames(path: str, count: int) -> Iterator[Image.Image]:
    timeline = _read_timeline(path)
    yield from _frames_at([timeline.times[i] for i in _middles(len(timeline.times), count)], path, timeline)


class _Timeline(NamedTuple):
    """When the frames are shown, in order and in the stream's unit, and the keyframes: when shown, where to seek."""

    times: list[int]
    keyframes: list[tuple[int, int]]
    numbered: bool  # the file tells no times: these are the frames' numbers


class _Shown(NamedTuple):
    time: int
    frame: av.VideoFrame


def _read_timeline(path: str) -> _Timeline:
    """UnreadableVideo for a file without a frame, with damaged packets, or that ends before its header says."""
    times, keyframes, end = [], [], 0.0
    with _opened(path) as container:
        stream = _video_stream(path, container)
        _check_size(path, stream.width, stream.height)
        for packet in container.demux():
            if packet.dts is None and packet.size == 0:
                continue  # a stream is over
            if packet.is_corrupt:
                raise UnreadableVideo(path, f"damaged or cut off {end:.1f} s in")
            if packet.pts is not None:
                end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            if packet.stream_index == stream.index and not packet.is_discard:
                times.append(packet.pts)
                if packet.is_keyframe and None not in (packet.pts, packet.dts):
                    keyframes.append((packet.pts, min(packet.pts, packet.dts)))
        if not times:
            raise UnreadableVideo(path, "it has no frame")
        if None in times:
            return _Timeline(list(range(len(times))), [], numbered=True)
        times.sort()
        usual = (times[-1] - times[0]) / max(len(times) - 1, 1)  # for the last frame, which may have no duration
        end = max(end, float(times[-1] + usual) * float(stream.time_base))
        declared = _declared_seconds(container, stream)
        if end < WHOLE * declared:
            raise UnreadableVideo(path, f"cut off: it ends after {end:.1f} of {declared:.1f} s")
    return _Timeline(times, sorted(keyframes), numbered=False)


def _opened(path: str) -> "av.container.InputContainer":
    try:
        return av.open(path)
    except av.FFmpegError as error:
        raise UnreadableVideo(path, f"not a video that ffmpeg can open, or cut off ({error.strerror})") from error


def _video_stream(path: str, container: "av.container.InputContainer") -> av.VideoStream:
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:  # the cover of a song
            return stream
    kinds = sorted({stream.type for stream in container.streams})
    raise UnreadableVideo(path, f"it has no moving picture, only {' and '.join(kinds) or 'nothing'}")


def _declared_seconds(container: "av.container.InputContainer", stream: av.VideoStream) -> float:
    """The length that the header claims; 0 for formats where ffmpeg guesses it from what it finds."""
    if container.format.name == "avi" and stream.average_rate:
        return float(stream.frames / stream.average_rate)
    if container.format.name.startswith(("mov", "matroska")) and container.duration:
        return container.duration / av.time_base
    return 0.0


def _frames_at(times: Sequence[int], path: str, timeline: _Timeline, may_seek: bool = True) -> Iterator[Image.Image]:
    """The first frame shown at or after each of `times`, which rise."""
    with _opened(path) as container:
        stream = _video_stream(path, container)
        frames, shown = _decoded(container, stream, timeline), None
        for i, time in enumerate(times):
            seek = _place_to_seek(timeline, shown.time if shown else timeline.times[0], time) if may_seek else None
            if seek is not None:
                container.seek(seek, stream=stream)
                frames = _decoded(container, stream, timeline)
                shown = next(frames, None)
                if shown is None or shown.time > time:  # the index is off
                    yield from _frames_at(times[i:], path, timeline, may_seek=False)
                    return
            if shown is None or shown.time < time:
                shown = next((later for later in frames if later.time >= time), None)
            if shown is None:
                raise UnreadableVideo(path, "damaged or cut off: its last frames cannot be decoded")
            yield _as_seen(shown.frame, stream)


def _decoded(container: "av.container.InputContainer", stream: av.VideoStream, timeline: _Timeline) -> Iterator[_Shown]:
    for number, frame in enumerate(container.decode(stream)):
        yield _Shown(number if timeline.numbered else frame.pts, frame)


def _place_to_seek(timeline: _Timeline, here: int, time: int) -> int | None:
    """Where the last keyframe up to `time` lies, if that saves decoding more than SEEK_OVER frames."""
    at = bisect_right(timeline.keyframes, time, key=lambda keyframe: keyframe[0]) - 1
    if at < 0:
        return None
    shown, place = timeline.keyframes[at]
    passed = bisect_left(timeline.times, shown) - bisect_left(timeline.times, here)
    return place if passed > SEEK_OVER else None


def _as_seen(frame: av.VideoFrame, stream: av.VideoStream) -> Image.Image:
    """As RGB, with square pixels, the right way up."""
    image = frame.to_image()
    shape = stream.sample_aspect_ratio
    if shape and shape != 1 and 1 / 4 < shape < 4:  # others are mistakes
        image = image.resize((round(image.width * shape), image.height))
    return image.rotate(frame.rotation, expand=True) if frame.rotation else image
