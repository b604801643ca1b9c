"""The places of the built-in sample, one short drawing each. Horizons lie near the middle; feet go below them."""

from collections.abc import Callable

from clipknight.sample.pen import GLASS, LIGHT, PAPER, Pen, shade
from clipknight.sample.scenery import Rng, blades, fade, firs, ground, ridge, sky, soften

import cv2
import numpy as np


def beach(p: Pen, rng: Rng):
    sky(p, rng, 4, (104, 178, 232), (214, 236, 246))
    ground(p, rng, 44, 8, (30, 118, 178), (88, 196, 206))
    for colour, y in (((244, 250, 250), 59), ((214, 186, 136), 61.2), ((240, 216, 164), 63)):
        p.poly(colour, *((x, y + np.sin(x / 11 + y)) for x in range(0, 101, 4)), (100, 100), (0, 100))
    ground(p, rng, 65, 24, (240, 216, 164), (232, 204, 148))


def sea(p: Pen, rng: Rng):
    sky(p, rng, 5, (120, 186, 236), (232, 240, 240))
    ground(p, rng, 48, 26, (52, 130, 182), (26, 96, 156), (16, 66, 124))
    for y in np.sort(rng.uniform(50, 100, 90)):
        x, w, light = rng.uniform(-5, 100), 2 + 0.12 * (y - 48), rng.uniform(0.9, 1.5)
        p.line(shade((70, 150, 200), light), 0.15 * w, (x, y), (x + w / 2, y - 0.1 * w), (x + w, y))


def meadow(p: Pen, rng: Rng):
    sky(p, rng, 5, (98, 170, 230), (220, 238, 248))
    ridge(p, rng, (134, 182, 148), 60, 14, 5)
    ground(p, rng, 63, 24, (128, 190, 84), (88, 158, 62))
    blades(p, rng, 64, (76, 148, 54), (150, 202, 98))
    petals = ((246, 240, 236), (244, 206, 84), (226, 120, 150), (164, 130, 214))
    for x, depth in rng.uniform(0, 1, (60, 2)):
        p.oval(petals[rng.integers(4)], 100 * x, 65 + 35 * depth, 0.5 + 0.6 * depth)


def city(p: Pen, rng: Rng):
    sky(p, rng, 3, (138, 182, 222), (236, 232, 222))
    for wall, highest, lowest, width in (((158, 176, 198), 12, 40, 10), ((104, 120, 146), 26, 58, 14)):
        for x in range(-4, 100, width):
            top = rng.uniform(highest, lowest)
            p.box(shade(wall, rng.uniform(0.88, 1.12)), x, top, x + width - 0.6, 72)
            for y in np.arange(top + 3, 68, 5):
                for left in (x + 0.15 * width, x + 0.55 * width):
                    p.box(LIGHT if rng.random() < 0.3 else shade(wall, 0.74), left, y, left + 0.25 * width, y + 2.5)
    p.box((188, 186, 180), 0, 70, 100, 77)
    ground(p, rng, 77, 14, (92, 94, 102), (74, 76, 86))
    for x in range(-5, 100, 25):
        p.poly((232, 226, 206), (x, 90), (x + 13, 90), (x + 12.5, 91.8), (x - 0.8, 91.8))


def snow(p: Pen, rng: Rng):
    sky(p, rng, 3, (158, 192, 224), (232, 238, 246))
    ridge(p, rng, (206, 220, 236), 58, 20, 6)
    firs(p, rng, (92, 128, 128), 64, 17, 9)
    ground(p, rng, 64, 12, (226, 234, 246), (244, 247, 252))


def night(p: Pen, rng: Rng):
    fade(p, 0, 75, (12, 16, 48), (28, 44, 96), (74, 84, 138))
    for x, y, light in rng.uniform(0, 1, (120, 3)):
        p.oval(shade((200, 210, 255), 1 + light), 100 * x, 66 * y, 0.12 + 0.28 * light**4)
    ridge(p, rng, (30, 42, 82), 66, 16, 6)
    firs(p, rng, (18, 32, 52), 70, 12, 16)
    ground(p, rng, 69, 20, (36, 62, 72), (48, 80, 76))
    blades(p, rng, 71, (34, 62, 66), (70, 104, 94))


def room(p: Pen, rng: Rng):
    wall, rug = _WALLS[rng.integers(len(_WALLS))], _RUGS[rng.integers(len(_RUGS))]
    fade(p, 0, 70, shade(wall, 1.15), wall)
    for x in range(2, 100, 8):
        p.box(shade(wall, 0.95), x, 0, x + 3, 68)
    x = (8, 58)[rng.integers(2)]
    p.box(PAPER, x, 10, x + 34, 46)
    for left, top in ((2, 12), (18, 12), (2, 29), (18, 29)):
        p.box(GLASS, x + left, top, x + left + 14, top + 15)
    for curtain in (x - 5, x + 33):
        p.box((208, 147, 131), curtain, 7, curtain + 6, 52)
    p.box(PAPER, 0, 67, 100, 70)
    ground(p, rng, 70, 16, (156, 106, 66), (190, 136, 88))
    p.oval(rug, 50, 87, 40, 9)
    p.oval(shade(rug, 1.25), 50, 87, 34, 7)


def table(p: Pen, rng: Rng):
    tile = _WALLS[rng.integers(len(_WALLS))]
    fade(p, 0, 60, shade(tile, 0.93), tile)
    for y in range(0, 60, 9):
        for x in np.arange(-11.5, 104, 11.5) + y % 2 * 5.75:
            p.box(shade(tile, rng.uniform(0.97, 1.3)), x, y, x + 10.8, y + 8.3)
    p.image[:] = soften(p.image, p.size / 130)
    ground(p, rng, 60, 30, (178, 122, 76), (206, 150, 98), flat=12)
    for y in (66, 74, 84, 97):
        p.line((146, 96, 58), 0.4, (0, y), (100, y))


_WALLS = ((214, 196, 170), (184, 202, 196), (204, 190, 208), (196, 206, 178))
_RUGS = ((170, 66, 62), (70, 96, 140), (92, 124, 96))

DRAWINGS: dict[str, Callable[[Pen, Rng], None]] = {
    f.__name__: f for f in (beach, sea, meadow, city, snow, night, room, table)
}


def background(name: str, rng: Rng, size: int) -> np.ndarray:
    """The place without objects: (size, size, 3) uint8."""
    pen = Pen(size, light=0)
    DRAWINGS[name](pen, rng)
    return cv2.cvtColor(pen.image, cv2.COLOR_RGBA2RGB)
