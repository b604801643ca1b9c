"""Frames out of video files (by ffmpeg) and animated GIF and WebP (by Pillow), one in memory at a time.

A file is read twice: once whole without decoding, for when its frames are shown and whether all of it is there; then
from keyframe to keyframe, decoding what lies before the frames that are wanted.
"""

from __future__ import annotations

import os
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from clipknight.data.images import MAX_PIXELS, UnreadableImage

from PIL import Image, UnidentifiedImageError

if TYPE_CHECKING:  # an extra: imported where it is needed
    import av
    from av.container import InputContainer

ANIMATIONS = ("GIF", "WEBP")  # ffmpeg takes a GIF cut short for a whole one, and can't read animated WebP
SEEK_OVER = 100  # frames; to get past fewer, decoding them costs little and finds damage
WHOLE = 0.9  # of the declared length; headers are often off by some frames


class UnreadableVideo(UnreadableImage):
    """A clip that cannot be decoded; `path` and `reason`."""


def evenly_spaced_frames(path: str, count: int) -> Iterator[Image.Image]:
    """See `clipknight.data.videos.read_frames`."""
    if count < 1:
        raise ValueError(f"{count} frames of a clip: ask for at least 1")
    try:
        if os.path.getsize(path) == 0:
            raise UnreadableVideo(path, "the file is empty")
        yield from (_animation_frames if _is_animation(path) else _video_frames)(path, count)
    except (UnreadableVideo, MemoryError, ModuleNotFoundError):
        raise
    except Exception as error:  # decoders meet broken data with errors of many types
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        by_the_system = isinstance(error, OSError) and error.errno and not type(error).__module__.startswith("av.")
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
        if image.format == "GIF" and not _ends_as_gif(path):
            raise UnreadableVideo(path, "cut off: the mark that ends a GIF is not there")
        white = Image.new("RGBA", image.size, "white")
        for number in _middles(image.n_frames, count):
            image.seek(number)
            yield Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
        image.seek(image.n_frames - 1)
        image.load()  # fails where the file was cut off inside a frame


def _ends_as_gif(path: str) -> bool:
    """Whether its blocks go on to the one that ends a GIF; what comes after that does not count."""
    with open(path, "rb") as file:

        def skip_colours(flags: int) -> None:
            file.seek(3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0, os.SEEK_CUR)

        skip_colours(file.read(13)[10])
        while (kind := file.read(1)) in (b"!", b","):
            if kind == b",":  # a frame: its place, its colours, the size of its codes
                skip_colours(file.read(9)[8])
            file.read(1)  # that size, or what an extension is
            while size := file.read(1):
                if size == b"\0":
                    break
                file.seek(size[0], os.SEEK_CUR)
        return kind == b";"


def _video_frames(path: str, count: int) -> Iterator[Image.Image]:
    timeline = _read_timeline(path)
    yield from _frames_at(_middles(timeline.total, count), path, timeline)


class _Timeline(NamedTuple):
    """Of `total` frames: when each is shown, in order; the keyframes' places in that order, and where to seek for them.

    Times are those of the file, in the stream's unit. `trusted`: decoded frames carry them too.
    """

    total: int
    times: list[int]
    keyframes: list[tuple[int, int]]
    trusted: bool


class _Shown(NamedTuple):
    place: int
    frame: av.VideoFrame


def _read_timeline(path: str) -> _Timeline:
    """UnreadableVideo for a file without a frame, with damaged packets, or that ends before its header says."""
    packets, end = [], 0.0
    with _opened(path) as container:
        stream = _video_stream(path, container)
        _check_size(path, stream.width, stream.height)
        for packet in container.demux():
            if packet.dts is None and packet.size == 0:
                continue  # a stream is over
            if packet.is_corrupt:
                raise UnreadableVideo(path, f"damaged or cut off {end:.1f} s in")
            time = packet.dts if packet.pts is None else packet.pts
            if time is not None:
                end = max(end, float((time + (packet.duration or 0)) * packet.time_base))
            if packet.stream_index == stream.index and not packet.is_discard:
                packets.append((packet.pts, packet.dts, packet.is_keyframe))
        declared = _declared_seconds(container, stream)
        if not packets:
            raise UnreadableVideo(path, "cut off before its first frame" if declared else "it has no frame")
        times = sorted(pts for pts, _, _ in packets if pts is not None)
        if len(times) > 1:  # the last frame may have no duration of its own
            usual = (times[-1] - times[0]) / (len(times) - 1)
            end = max(end, (times[-1] + usual) * float(stream.time_base))
        if end < WHOLE * declared:
            raise UnreadableVideo(path, f"cut off: it ends after {end:.1f} of {declared:.1f} s")
        if len(times) < len(packets):
            return _Timeline(len(packets), [], [], trusted=False)
        keyframes = sorted(
            (bisect_left(times, pts), pts if dts is None else min(pts, dts)) for pts, dts, key in packets if key
        )
        # AVI has no times, and those that ffmpeg makes up for frames that are stored out of order are wrong.
        return _Timeline(len(times), times, keyframes, trusted=container.format.name != "avi")


def _opened(path: str) -> InputContainer:
    import av

    try:
        return av.open(path)
    except av.FFmpegError as error:
        raise UnreadableVideo(path, f"not a video that ffmpeg can open, or cut off ({error.strerror})") from error


def _video_stream(path: str, container: InputContainer) -> av.VideoStream:
    from av.stream import Disposition

    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:  # the cover of a song
            return stream
    kinds = sorted({stream.type for stream in container.streams})
    raise UnreadableVideo(path, f"it has no moving picture, only {' and '.join(kinds) or 'nothing'}")


def _declared_seconds(container: InputContainer, stream: av.VideoStream) -> float:
    """The length that the header claims; 0 for formats where ffmpeg guesses it from what it finds."""
    if container.format.name == "avi" and stream.average_rate:
        return float(stream.frames / stream.average_rate)
    if container.format.name.startswith(("mov", "matroska")) and container.duration:
        return container.duration / 1e6  # av.time_base: microseconds
    return 0.0


def _frames_at(places: Sequence[int], path: str, timeline: _Timeline, may_seek: bool = True) -> Iterator[Image.Image]:
    """The frames at these places, which rise, in the order of frames; the next one for a frame that is never shown."""
    with _opened(path) as container:
        stream = _video_stream(path, container)
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
    container: InputContainer, stream: av.VideoStream, timeline: _Timeline, sought: bool = False
) -> Iterator[_Shown]:
    first = 0
    for number, frame in enumerate(container.decode(stream)):
        if timeline.trusted:
            yield _Shown(bisect_left(timeline.times, frame.pts), frame)
            continue
        if number == 0 and sought:  # a keyframe, and of these the time is right
            first = bisect_left(timeline.times, frame.pts)
        yield _Shown(first + number, frame)


def _where_to_seek(timeline: _Timeline, here: int, place: int) -> int | None:
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
