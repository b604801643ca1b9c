"""A video file read without decoding: when its frames are shown, its keyframes, and whether all of it is there."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from clipknight.data.images import MAX_PIXELS, UnreadableImage

if TYPE_CHECKING:  # an extra: imported where it is needed
    import av
    from av.container import InputContainer

WHOLE = 0.9  # of the declared length; headers are often off by some frames
ROUNDING = 1e-6  # seconds


class UnreadableVideo(UnreadableImage):
    """A clip that cannot be decoded; `path` and `reason`."""


class Shot(NamedTuple):
    """A stretch of a clip, in seconds from its first frame."""

    start: float
    end: float

    def part_of(self, name: str) -> str:
        """What a shot of the clip called `name` is called, by W3C's media fragments: clip.mp4#t=5,10."""
        return f"{name}#t={self.start:g},{self.end:g}"


class Timeline(NamedTuple):
    """Of `total` frames: when each is shown, in order; the keyframes' places in that order, and where to seek for them.

    Times are those of the file, in the stream's `unit`, seconds. `trusted`: decoded frames carry them too.
    """

    total: int
    times: list[int]
    keyframes: list[tuple[int, int]]
    trusted: bool
    unit: float = 0.0

    @property
    def starts(self) -> list[float]:
        """Seconds from the first frame to each; none where the file does not say."""
        return [(time - self.times[0]) * self.unit for time in self.times]


def places_in_shots(starts: Sequence[float], shots: Sequence[Shot], count: int) -> list[int]:
    """The places of `count` evenly spaced frames of each shot, for frames that begin at `starts`.

    A shot in which none begins shows the frame before it.
    """
    places = []
    for start, end in shots:
        first, after = (bisect_left(starts, bound - ROUNDING) for bound in (start, end))
        if first >= after:
            first, after = max(first - 1, 0), max(first, 1)
        places += [first + middle for middle in middles(after - first, count)]
    return places


def middles(total: int, count: int) -> list[int]:
    """The places of `count` evenly spaced frames of `total`: the middle of each of so many parts."""
    return [(2 * i + 1) * total // (2 * count) for i in range(count)]


def check_size(path: str, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise UnreadableVideo(path, f"{width:,} x {height:,} pixels are more than {MAX_PIXELS:,}; make it smaller")


def read_timeline(path: str) -> Timeline:
    """UnreadableVideo for a file without a frame, with damaged packets, or that ends before its header says."""
    packets, end = [], 0.0
    with opened(path) as container:
        stream = video_stream(path, container)
        check_size(path, stream.width, stream.height)
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
            return Timeline(len(packets), [], [], trusted=False)
        keyframes = sorted(
            (bisect_left(times, pts), pts if dts is None else min(pts, dts)) for pts, dts, key in packets if key
        )
        # AVI has no times, and those that ffmpeg makes up for frames that are stored out of order are wrong.
        return Timeline(len(times), times, keyframes, container.format.name != "avi", float(stream.time_base))


def opened(path: str) -> InputContainer:
    import av

    try:
        return av.open(path)
    except av.FFmpegError as error:
        raise UnreadableVideo(path, f"not a video that ffmpeg can open, or cut off ({error.strerror})") from error


def video_stream(path: str, container: InputContainer) -> av.VideoStream:
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
