"""What several places of the built-in sample have: sky, ground, hills, firs, grass."""

from clipknight.sample.pen import PAPER, WOOD, Colour, Pen, curve, shade

import cv2
import numpy as np

Rng = np.random.Generator


def fade(p: Pen, y0: float, y1: float, *colours: Colour):
    """A band of colour that runs evenly through `colours` from top to bottom."""
    rows = slice(round(y0 * p.size / 100), round(y1 * p.size / 100))
    stops, at = np.linspace(0, 1, len(colours)), np.linspace(0, 1, rows.stop - rows.start)
    p.image[rows, :, :3] = np.stack([np.interp(at, stops, c) for c in zip(*colours)], 1)[:, None]


def ground(p: Pen, rng: Rng, y: float, mottled: float, *colours: Colour, flat: float = 4):
    """Everything below `y`, mottled by so much; `flat` > 1 stretches the spots sideways."""
    fade(p, y, 100, *colours)
    part = p.image[round(y * p.size / 100) :]
    for cells in (8, 24, 80, 160):
        spots = rng.standard_normal((cells // 2, max(2, round(cells / flat))), np.float32) * mottled / 4
        rough = cv2.resize(spots, part.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        part[..., :3] = np.clip(part[..., :3] + rough[..., None], 0, 255)


def soften(image: np.ndarray, sigma: float) -> np.ndarray:
    """A wide blur, done at half the size for speed."""
    h, w = image.shape[:2]
    half = cv2.resize(image, (w // 2, h // 2), interpolation=cv2.INTER_AREA)
    return cv2.resize(cv2.GaussianBlur(half, (0, 0), sigma / 2), (w, h), interpolation=cv2.INTER_LINEAR)


def sky(p: Pen, rng: Rng, clouds: int, *colours: Colour):
    """A sky with soft heaps of cloud."""
    fade(p, 0, 65, *colours)
    for _ in range(clouds):
        x, y, w = rng.uniform(0, 100), rng.uniform(5, 34), rng.uniform(6, 11)
        for dx, dy, r in ((-1, 0.1, 0.5), (-0.4, -0.25, 0.65), (0.3, -0.35, 0.7), (1, 0.05, 0.55), (0, 0.15, 0.6)):
            p.oval(PAPER, x + dx * w, y + dy * w, 1.15 * r * w, 0.8 * r * w)
    p.image[:] = soften(p.image, p.size / 110)


def ridge(p: Pen, rng: Rng, colour: Colour, y: float, height: float, knots: int):
    """Rolling hills that rise up to `height` over `y`."""
    tops = np.stack([np.linspace(-5, 105, knots), y - height * rng.uniform(0, 1, knots)], 1)
    p.poly(colour, *curve(tops, closed=False), (105, 105), (-5, 105))


def firs(p: Pen, rng: Rng, colour: Colour, y: float, tall: float, count: int):
    for x in (np.arange(count) + rng.uniform(-0.3, 0.3, count)) * 100 / (count - 1):
        h, w = tall * rng.uniform(0.7, 1.15), tall * rng.uniform(0.2, 0.26)
        p.box(shade(WOOD, 0.7), x - 0.04 * tall, y - 0.1 * h, x + 0.04 * tall, y + 1)
        for low, high, wide in ((0.08, 0.5, 1), (0.33, 0.75, 0.78), (0.58, 1, 0.55)):
            p.poly(colour, (x - wide * w, y - low * h), (x, y - high * h), (x + wide * w, y - low * h))


def blades(p: Pen, rng: Rng, top: float, *colours: Colour):
    """Grass, longer towards the viewer."""
    for x, depth, lean in rng.uniform(0, 1, (150, 3)):
        x, y, tall = 100 * x, top + (100 - top) * depth, 1.2 + 1.8 * depth
        p.poly(colours[rng.integers(len(colours))], (x - 0.3, y), (x + 3 * lean - 1.5, y - tall), (x + 0.3, y))
