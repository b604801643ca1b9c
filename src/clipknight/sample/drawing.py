"""Scenes of the built-in sample as pixels: background, objects with their shadows, then the style's filter."""

from collections.abc import Iterator

from clipknight.sample.backgrounds import background
from clipknight.sample.objects import sprite
from clipknight.sample.pen import COLOURS
from clipknight.sample.scenery import soften
from clipknight.sample.scenes import Placed, Scene
from clipknight.sample.styles import FILTERS
from clipknight.sample.world import FEET, THINGS

import cv2
import numpy as np

SIZE, FRAMES, FPS = 224, 24, 12
_CANVAS = 2 * SIZE  # drawn at twice the size, then reduced

Box = tuple[int, int, int, int]


def draw(scene: Scene, seed: int) -> tuple[np.ndarray, list[Box]]:
    """The picture (SIZE, SIZE, 3) uint8 RGB and the box (left, top, right, bottom) of each placed object, in pixels."""
    rng = _generator(scene, seed)
    canvas, boxes = _still(scene, rng)
    return _finish(canvas, scene, rng), boxes


def draw_frames(clip: Scene, seed: int) -> Iterator[np.ndarray]:
    """The clip's FRAMES pictures, each (SIZE, SIZE, 3) uint8 RGB."""
    rng = _generator(clip, seed)
    canvas, _ = _still(clip, rng)
    mover = _sprite(_moved(clip, 0), rng)
    paint = int(rng.integers(2**32))  # the same brush strokes in every frame
    for t in np.linspace(0, 1, FRAMES):
        frame = canvas.copy()
        _put(frame, _moved(clip, float(t)), mover)
        yield _finish(frame, clip, np.random.default_rng(paint))


def _generator(scene: Scene, seed: int) -> np.random.Generator:
    return np.random.default_rng([seed, *scene.id.encode()])


def _still(scene: Scene, rng: np.random.Generator) -> tuple[np.ndarray, list[Box]]:
    """The background with what is placed on it, and the boxes of that."""
    canvas = background(scene.background, rng, _CANVAS)
    if scene.style == "photo":
        canvas = soften(canvas, 5)  # out of the lens's focus
    return canvas, [_put(canvas, placed, _sprite(placed, rng)) for placed in scene.placed]


def _finish(canvas: np.ndarray, scene: Scene, rng: np.random.Generator) -> np.ndarray:
    return FILTERS[scene.style](cv2.resize(canvas, (SIZE, SIZE), interpolation=cv2.INTER_AREA), rng)


def _sprite(placed: Placed, rng: np.random.Generator) -> np.ndarray:
    group = placed.group
    colour = np.float32(COLOURS[group.colour or THINGS[group.name].colours[0]]) * rng.uniform(0.92, 1.06)
    colour = tuple(int(v) for v in np.clip(colour + rng.normal(0, 4, 3), 0, 255))
    return sprite(group.name, colour, max(24, round(placed.side * _CANVAS)), placed.mirrored)


def _put(canvas: np.ndarray, placed: Placed, image: np.ndarray) -> Box:
    """Lay a premultiplied RGBA sprite on the canvas, over its shadow; returns its box at picture size."""
    h, w = image.shape[:2]
    left, top = round(placed.x * _CANVAS - w / 2), round(placed.y * _CANVAS - h)
    if not placed.group.floats:
        _shadow(canvas, left + w / 2, top + h, w)
    x0, y0, x1, y1 = (int(v) for v in np.clip([left, top, left + w, top + h], 0, _CANVAS))
    part, seen = canvas[y0:y1, x0:x1], image[y0 - top : y1 - top, x0 - left : x1 - left]
    part[:] = np.minimum(seen[..., :3] + part * (1 - seen[..., 3:] / np.float32(255)), 255)
    return tuple(round(v * SIZE / _CANVAS) for v in (x0, y0, x1, y1))


def _shadow(canvas: np.ndarray, x: float, y: float, width: float):
    """A soft, flat patch under the feet."""
    rx, ry = 0.56 * width, 0.09 * width
    x0, y0, x1, y1 = (int(v) for v in np.clip([x - rx, y - 1.2 * ry, x + rx + 1, y + 0.8 * ry + 1], 0, _CANVAS))
    dy, dx = np.ogrid[y0:y1, x0:x1]
    near = np.clip(1 - ((dx - x) / rx) ** 2 - ((dy - y) / ry + 0.2) ** 2, 0, 1)
    canvas[y0:y1, x0:x1] = canvas[y0:y1, x0:x1] * (1 - 0.45 * near[..., None])


def _moved(clip: Scene, t: float) -> Placed:
    """Where the moving object is at time `t` in 0..1. Steps of walkers rise and fall a little."""
    mover = clip.groups[0]
    x, y, sway = 0.5, np.mean(FEET[mover.spot]), 0.02 * np.sin(4 * np.pi * t)
    if clip.motion == "bounce":
        y -= 0.24 * abs(np.sin(2 * np.pi * t))
    elif clip.motion in ("up", "down"):
        x, y = 0.5 + sway, 0.3 + 0.62 * (t if clip.motion == "down" else 1 - t)
    else:
        x, y = 0.1 + 0.8 * (t if clip.motion == "left to right" else 1 - t), y - abs(sway)
    return Placed(mover, x, y, 0.34 * THINGS[mover.name].scale, clip.motion == "right to left")
