"""Scenes of the built-in sample as pixels: background, objects with their shadows, weather, then the style's filter."""

from collections.abc import Iterator
from dataclasses import replace

from clipknight.sample.backgrounds import background, soften
from clipknight.sample.objects import sprite
from clipknight.sample.pen import COLOURS
from clipknight.sample.scenes import Clip, Placed, Scene
from clipknight.sample.styles import FILTERS
from clipknight.sample.world import BACKGROUNDS, THINGS

import cv2
import numpy as np

SIZE, FRAMES, FPS = 224, 24, 12
_CANVAS = 2 * SIZE  # drawn at twice the size, then reduced

Box = tuple[int, int, int, int]


def draw(scene: Scene, seed: int) -> tuple[np.ndarray, list[Box]]:
    """The picture (SIZE, SIZE, 3) uint8 RGB and the box (left, top, right, bottom) of each placed object, in pixels."""
    rng = _generator(scene, seed)
    canvas = _backdrop(scene, rng)
    if scene.weather == "golden light":
        canvas = _golden_light(canvas, rng)  # of the place alone: objects keep the colours that captions name
    boxes = [_put(canvas, placed, _sprite(scene, placed, rng)) for placed in scene.placed]
    picture = cv2.resize(canvas, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    if scene.weather in _WEATHER:
        picture = _WEATHER[scene.weather](picture, rng)
    return FILTERS[scene.style](picture, rng), boxes


def draw_frames(clip: Clip, seed: int) -> Iterator[np.ndarray]:
    """The clip's FRAMES pictures, each (SIZE, SIZE, 3) uint8 RGB."""
    rng = _generator(clip, seed)
    canvas = _backdrop(clip, rng)
    for placed in clip.placed:
        _put(canvas, placed, _sprite(clip, placed, rng))
    largest = replace(_path(clip, 1.0), side=0.6)
    mover = _sprite(clip, largest, rng)
    paint = int(rng.integers(2**32))  # the same brush strokes in every frame
    for t in np.linspace(0, 1, FRAMES):
        frame, at = canvas.copy(), _path(clip, float(t))
        scale = at.side / largest.side
        _put(frame, at, cv2.resize(mover, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
        picture = cv2.resize(frame, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
        yield FILTERS[clip.style](picture, np.random.default_rng(paint))


def _generator(scene: Scene | Clip, seed: int) -> np.random.Generator:
    return np.random.default_rng([seed, *scene.id.encode()])


def _backdrop(scene: Scene | Clip, rng: np.random.Generator) -> np.ndarray:
    canvas = background(scene.background, rng, _CANVAS)
    return soften(canvas, 5) if scene.style == "photo" else canvas  # out of the lens's focus


def _sprite(scene: Scene | Clip, placed: Placed, rng: np.random.Generator) -> np.ndarray:
    group = scene.groups[placed.group]
    colour = np.float32(COLOURS[group.colour or THINGS[group.name].colours[0]]) * rng.uniform(0.92, 1.06)
    colour = tuple(int(v) for v in np.clip(colour + rng.normal(0, 4, 3), 0, 255))
    return sprite(group.name, colour, max(24, round(placed.side * _CANVAS)), placed.mirrored)


def _put(canvas: np.ndarray, placed: Placed, image: np.ndarray) -> Box:
    """Lay a premultiplied RGBA sprite on the canvas, over its shadow; returns its box at picture size."""
    h, w = image.shape[:2]
    left = round(placed.x * _CANVAS - w / 2)
    top = round(placed.y * _CANVAS - (h / 2 if placed.floats else h))
    if not placed.floats:
        _shadow(canvas, left + w / 2, top + h, w)
    x0, y0, x1, y1 = (int(v) for v in np.clip([left, top, left + w, top + h], 0, _CANVAS))
    if x0 < x1 and y0 < y1:
        part, seen = canvas[y0:y1, x0:x1], image[y0 - top : y1 - top, x0 - left : x1 - left]
        part[:] = np.minimum(seen[..., :3] + part * (1 - seen[..., 3:] / np.float32(255)), 255)
    return tuple(round(v * SIZE / _CANVAS) for v in (x0, y0, x1, y1))


def _shadow(canvas: np.ndarray, x: float, y: float, width: float):
    """A soft, flat patch under the feet."""
    rx, ry = 0.56 * width, 0.09 * width
    x0, y0, x1, y1 = (int(v) for v in np.clip([x - rx, y - 1.3 * ry, x + rx, y + 0.9 * ry], 0, _CANVAS))
    if x0 < x1 and y0 < y1:
        dy, dx = np.ogrid[y0:y1, x0:x1]
        far = ((dx - x) / rx) ** 2 + ((dy - (y - 0.2 * ry)) / ry) ** 2
        canvas[y0:y1, x0:x1] = canvas[y0:y1, x0:x1] * (1 - 0.45 * np.clip(1 - far, 0, 1))[..., None]


# Weather: (H, W, 3) uint8 -> the same.


def _golden_light(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    warm = picture * np.float32([1.08, 0.95, 0.74])
    h, w = picture.shape[:2]
    y, x = np.ogrid[0 : 1 : h * 1j, 0 : 1 : w * 1j]
    glow = np.exp(-3 * ((x - rng.choice([0, 1])) ** 2 + y**2))[..., None] * np.float32([90, 64, 14])
    return np.clip(warm + glow, 0, 255).astype(np.uint8)


def _mist(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    rough = cv2.resize(rng.uniform(-0.12, 0.12, (5, 3)).astype(np.float32), (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
    fog = np.clip(np.linspace(0.72, 0.4, SIZE)[:, None] + rough, 0, 0.8)[..., None]
    return (picture * (1 - fog) + np.float32([222, 226, 230]) * fog).astype(np.uint8)


def _rain(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    dim = cv2.addWeighted(picture, 0.68, np.full_like(picture, (96, 108, 124)), 0.26, 0)
    drops = dim.copy()
    for x, y, far in rng.uniform(0, 1, (150, 3)):
        start, fall = (int(x * 1.1 * SIZE), int(y * SIZE)), 7 + 12 * far
        cv2.line(drops, start, (int(start[0] - 0.25 * fall), int(start[1] + fall)), (220, 230, 240), 1, cv2.LINE_AA)
    return cv2.addWeighted(dim, 0.4, drops, 0.6, 0)


def _snowfall(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    flakes = cv2.addWeighted(picture, 0.88, np.full_like(picture, 200), 0.12, 0)
    for x, y, near in rng.uniform(0, 1, (130, 3)):
        centre = (int(x * SIZE * 16), int(y * SIZE * 16))
        cv2.circle(flakes, centre, int(16 * (0.8 + 1.9 * near**3)), (252, 252, 255), -1, cv2.LINE_AA, 4)
    return flakes


_WEATHER = {"mist": _mist, "rain": _rain, "snowfall": _snowfall}


# Motion.


def _path(clip: Clip, t: float) -> Placed:
    """Where the moving object is at time `t` in 0..1. Steps of walkers rise and fall a little."""
    group = clip.groups[0]
    spot = BACKGROUNDS[clip.background].spots[group.spot]
    side, x, y = 0.34 * THINGS[group.name].scale, 0.5, spot.span[0] + 0.7 * (spot.span[1] - spot.span[0])
    sway = 0.02 * np.sin(4 * np.pi * t)
    if clip.motion in ("left to right", "right to left"):
        along = 0.1 + 0.8 * t
        x, y = along if clip.motion == "left to right" else 1 - along, y - abs(sway) if not spot.floats else 0.35 + sway
    elif clip.motion in ("up", "down"):
        down = t if clip.motion == "down" else 1 - t
        x, y = 0.5 + sway, 0.12 + down * 0.62
    elif clip.motion == "bounce":
        y -= 0.24 * abs(np.sin(2 * np.pi * t))
    else:
        side *= 0.45 + 1.15 * t
        y = y - 0.08 + 0.13 * t if not spot.floats else 0.4
    return Placed(0, x, y, side, spot.floats, clip.motion == "right to left")
