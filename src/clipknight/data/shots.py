"""Shots of a clip: stretches of equal length, or what lies between its scene changes, which ffmpeg finds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import pairwise
from math import ceil
from typing import TYPE_CHECKING

from clipknight.data.left_out import UnreadableMedia, note_unreadable
from clipknight.data.video_decoding import frame_starts, reading
from clipknight.data.video_timeline import Shot, UnreadableVideo, opened, video_stream
from clipknight.waiting import progress_bar

if TYPE_CHECKING:  # an extra: imported where it is needed
    import av
    from av.filter import Graph

SCENES = "scenes"
CHANGED = 0.3  # of ffmpeg's score, from 0 to 1, between two frames: more is another scene
SHORTEST = 1.0  # seconds of a shot
MILLISECOND = 0.001  # less than that is rounding
LOOKED_AT = 180  # pixels of the height that changes are looked for at


def shots_of(path: str, every: str) -> list[Shot]:
    """The shots of a clip, `every` so many seconds ("5s") or between "scenes". UnreadableVideo."""
    _, length = frame_starts(path)
    if every == SCENES:
        bounds = [0.0]
        for change in scene_changes(path):
            if bounds[-1] + SHORTEST <= change <= length - SHORTEST:
                bounds.append(change)
    else:
        step = float(every.removesuffix("s"))
        bounds = [number * step for number in range(ceil(length / step)) if number * step < length - MILLISECOND]
    return [Shot(round(start, 3), round(end, 3)) for start, end in pairwise([*bounds, length])]


def shots_by_path(
    paths: Iterable[str], every: str, workers: int = 2, skip_unreadable: bool = False
) -> dict[str, list[Shot]]:
    """The same of several clips, `workers` at a time. UnreadableMedia names those that failed, unless skipped."""
    paths, found, failed = list(paths), {}, {}
    with progress_bar(total=len(paths), desc="shots", unit="video") as bar, ThreadPoolExecutor(workers) as pool:
        for path, shots in zip(paths, pool.map(lambda path: _shots_or_reason(path, every), paths), strict=True):
            bar.update()
            (failed if isinstance(shots, str) else found)[path] = shots
    if failed and not skip_unreadable:
        raise UnreadableMedia(failed, "video")
    if failed:
        note_unreadable("videos", failed, "video")
    return found


def scene_changes(path: str) -> list[float]:
    """Seconds from the first frame to each that begins another scene. None in what ffmpeg cannot open, as some WebP."""
    found, first = [], None
    try:
        with reading(path), opened(path) as container:
            stream = video_stream(path, container)
            graph = _finds_changes(stream)
            for frame in container.decode(stream):
                first = frame.time if first is None else first
                graph.vpush(frame)
                found += [change.time - first for change in _pulled(graph)]
    except UnreadableVideo:
        return []
    return found


def _finds_changes(stream: av.VideoStream) -> Graph:
    """What lets only those frames pass that differ much from the one before."""
    from av.filter import Graph

    graph = Graph()
    small, changed = graph.add("scale", f"-2:{LOOKED_AT}"), graph.add("select", f"gt(scene,{CHANGED})")
    graph.link_nodes(graph.add_buffer(template=stream), small, changed, graph.add("buffersink")).configure()
    return graph


def _pulled(graph: Graph) -> Iterator[av.VideoFrame]:
    with suppress(BlockingIOError, EOFError):  # it wants more frames first
        while True:
            yield graph.vpull()


def _shots_or_reason(path: str, every: str) -> list[Shot] | str:
    try:
        return shots_of(path, every)
    except UnreadableVideo as error:
        return error.reason
