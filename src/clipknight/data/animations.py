"""Frames of animated GIF and WebP, by Pillow: ffmpeg takes a GIF cut short for whole, and can't read animated WebP."""

import os
from collections.abc import Iterator, Sequence

from clipknight.data.video_timeline import Shot, UnreadableVideo, check_size, middles, places_in_shots

from PIL import Image, UnidentifiedImageError

ANIMATIONS = ("GIF", "WEBP")
USUAL = 0.1  # seconds that browsers show a frame of which the file does not say how long


def is_animation(path: str) -> bool:
    try:
        with Image.open(path, formats=ANIMATIONS):
            return True
    except UnidentifiedImageError:
        return False


def animation_starts(path: str) -> tuple[list[float], float]:
    """Seconds until each frame, and until the end."""
    starts, end = [], 0.0
    with Image.open(path, formats=ANIMATIONS) as image:
        for number in range(image.n_frames):
            image.seek(number)
            starts.append(end)
            end += image.info.get("duration", 0) / 1000 or USUAL
    return starts, end


def animation_frames(path: str, count: int, shots: Sequence[Shot] = ()) -> Iterator[Image.Image]:
    with Image.open(path, formats=ANIMATIONS) as image:
        check_size(path, *image.size)
        if image.format == "GIF" and not _ends_as_gif(path):
            raise UnreadableVideo(path, "cut off: the mark that ends a GIF is not there")
        white = Image.new("RGBA", image.size, "white")
        places = places_in_shots(animation_starts(path)[0], shots, count) if shots else middles(image.n_frames, count)
        for number in places:
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
