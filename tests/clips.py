"""Clips whose frames are grey, each as light as its number says, with noise to give the files some bulk."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

STEP = 6  # grey levels between two frames: more than any codec blurs
SIZE = (64, 48)


def picture(number: int) -> np.ndarray:
    noise = np.random.default_rng(number).integers(-8, 9, (SIZE[1], SIZE[0], 1))
    return (10 + STEP * (number % 40) + noise).astype(np.uint8).repeat(3, 2)


def number_of(frame: Image.Image) -> int:
    """Of the clip's first 40 frames; then they begin again."""
    return round((np.asarray(frame).mean() - 10) / STEP)


def write_video(
    path: Path,
    codec: str = "libx264",
    frames: int = 40,
    rate: int = 10,
    sound: str | None = None,
    pixel_shape: Fraction = Fraction(1),
    times: list[int] | None = None,
    format: str | None = None,
    **options: str,
) -> Path:
    """`times`: when each frame is shown, in 1/rate s. `options` go to the container."""
    with av.open(str(path), "w", format=format, options=options) as container:
        stream = container.add_stream(codec, rate=rate)
        (stream.width, stream.height), stream.pix_fmt, stream.gop_size = SIZE, "yuv420p", 10
        stream.bit_rate = 2_000_000
        stream.sample_aspect_ratio, stream.time_base, stream.thread_count = pixel_shape, Fraction(1, rate), 1
        if codec == "libx264":  # frames that are not stored in the order they are shown in
            stream.options = {"bf": "2", "b_strategy": "0", "sc_threshold": "0"}
        tone = add_tone(container, sound) if sound else None
        for number, time in enumerate(times or range(frames)):
            frame = av.VideoFrame.from_ndarray(picture(number))
            frame.pts, frame.time_base = time, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if tone:
            write_tone(container, tone, frames / rate)
    return path


def write_sound(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        write_tone(container, add_tone(container), 1.0)
    return path


def add_tone(container, codec: str = "aac"):
    return container.add_stream(codec, rate=48000, layout="mono")


def write_tone(container, stream, seconds: float) -> None:
    for start in range(0, round(seconds * 48000), 960):
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 960), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
        container.mux(stream.encode(frame))
    container.mux(stream.encode())


def write_animation(path: Path, frames: int = 40) -> Path:
    first, *others = [Image.fromarray(picture(number)) for number in range(frames)]
    first.save(path, save_all=True, append_images=others, duration=100)
    return path


def cut(path: Path, share: float, name: str | None = None) -> Path:
    """A copy of the first `share` of a file."""
    data = path.read_bytes()
    shorter = path.with_name(name or f"cut_{path.name}")
    shorter.write_bytes(data[: int(len(data) * share)])
    return shorter
