"""The things of the built-in sample, one short drawing each.

A drawing fills the pen's sheet, stands on its lower edge and, where it has a side, faces right.
"""

from collections.abc import Callable

from clipknight.sample.animals import bird, butterfly, cat, dog, duck, whale
from clipknight.sample.pen import GLASS, GOLD, LEAF, PAPER, STEEL, WOOD, Colour, Pen, shade
from clipknight.sample.vehicles import airplane, balloon, car, sailboat

import numpy as np


def house(p: Pen, c: Colour):
    p.box((150, 82, 66), 66, 10, 76, 36)
    p.box(c, 12, 42, 88, 97)
    p.poly((158, 66, 54), (50, 6), (97, 46), (3, 46))
    p.oval(GLASS, 50, 31, 6)
    p.box(WOOD, 42, 64, 58, 97)
    p.oval(GOLD, 55, 81, 1.5)
    for _ in p.sides():
        p.box(PAPER, 65, 56, 82, 76)
        for x in (66.5, 74):
            for y in (57.5, 66.5):
                p.box((120, 170, 206), x, y, x + 6.5, y + 8)


def leaf(p: Pen, x, y, dx, dy):
    """A pointed leaf from (x, y) to (x + dx, y + dy)."""
    middle, across = (x + dx / 2, y + dy / 2), (-dy / 4, dx / 4)
    p.blob(LEAF, (x, y), np.add(middle, across), (x + dx, y + dy), np.subtract(middle, across))


def tree(p: Pen, c: Colour):
    p.blob(WOOD, (45, 50), (55, 50), (55, 80), (62, 97), (38, 97), (45, 80))
    p.line(WOOD, 3.5, (50, 66), (64, 50))
    for x, y, light in ((27, 42, 0.82), (73, 42, 0.82), (50, 46, 0.86), (36, 25, 1), (64, 26, 0.95), (50, 20, 1)):
        p.oval(shade(c, light), x, y, 20)
    for x, y in ((30, 30), (50, 16), (66, 30), (46, 38), (24, 46), (74, 46)):
        p.line(shade(c, 1.3), 2, (x - 4, y + 1), (x, y - 2), (x + 5, y))


def flower(p: Pen, c: Colour):
    p.line(LEAF, 3.5, (50, 40), (52, 70), (50, 97))
    leaf(p, 51, 84, 28, -20)
    leaf(p, 51, 90, -28, -16)
    for turn in range(0, 360, 45):
        x, y = 50 + 19 * np.cos(np.deg2rad(turn)), 33 + 19 * np.sin(np.deg2rad(turn))
        p.oval(shade(c, 0.9 if turn % 90 else 1), x, y, 13, 7.5, turn)
    p.oval(WOOD if c[2] < 100 < c[1] else GOLD, 50, 33, 10)


def apple(p: Pen, c: Colour):
    p.line(WOOD, 4, (50, 28), (52, 15), (57, 6))
    leaf(p, 53, 16, 28, -6)
    p.blob(c, (50, 25), (70, 18), (90, 36), (86, 70), (66, 95), (50, 92), (34, 95), (14, 70), (10, 36), (30, 18))
    p.blob(shade(c, 0.72), (40, 24.5), (50, 28), (60, 24.5), (50, 31))
    p.oval(shade(c, 1.6), 27, 41, 5, 11, 20)


def mug(p: Pen, c: Colour):
    for light, width in ((0.62, 10), (0.9, 7.5)):
        p.ring(shade(c, light), width, 72, 56, 17)
    p.box(c, 14, 24, 70, 95, 8)
    p.oval(shade(c, 0.8), 42, 25, 28, 7.5)
    p.oval((92, 56, 36), 42, 26.5, 24, 5.5)
    p.box(shade(c, 1.5), 14, 62, 70, 70)
    for x in (34, 48):
        p.line((236, 236, 236), 1.8, (x, 18), (x + 3, 12), (x - 2, 7), (x + 2, 1))


def teapot(p: Pen, c: Colour):
    for light, width in ((0.62, 8.5), (0.88, 6)):
        p.ring(shade(c, light), width, 20, 56, 16)
    p.blob(c, (66, 52), (82, 50), (90, 30), (99, 28), (94, 40), (88, 66), (68, 80))
    p.oval(c, 48, 64, 32, 29)
    p.box(shade(c, 0.8), 34, 90, 62, 96, 2)
    p.blob(shade(c, 0.9), (26, 40), (36, 28), (60, 28), (70, 40), (48, 43))
    p.oval(GOLD, 48, 24, 5.5)
    for x in (34, 48, 62):
        p.oval(shade(c, 1.65), x, 64, 4.5)


def chair(p: Pen, c: Colour):
    dark = shade(c, 0.72)
    for _ in p.sides():
        p.line(dark, 5.5, (72, 56), (74, 90))
        p.line(dark, 6, (72, 6), (72, 58))
    for y in (10, 24, 38):
        p.box(c, 27, y, 73, y + 8, 3)
    p.poly(c, (26, 54), (74, 54), (82, 64), (18, 64))
    p.box(dark, 18, 64, 82, 69)
    for _ in p.sides():
        p.line(c, 6, (79, 68), (79, 94))


def umbrella(p: Pen, c: Colour):
    p.line(WOOD, 3, (50, 10), (50, 86), (55, 95), (63, 93), (65, 85))
    p.line(STEEL, 2.5, (50, 11), (50, 5))
    rim = [(97 - 94 * t, 52 - 5 * abs(np.sin(4 * np.pi * t))) for t in np.linspace(0, 1, 33)]
    dome = [(50 - 47 * np.cos(t), 52 - 42 * np.sin(t)) for t in np.linspace(0, np.pi, 30)]
    p.fill(c, dome + rim)
    for _ in p.sides():
        p.blob(shade(c, 1.35), (50, 10.5), (66, 26), (73.5, 51.5), (62, 47), (50, 51.5), (54, 28))


_ANIMALS, _VEHICLES = (cat, dog, duck, whale, bird, butterfly), (car, sailboat, airplane, balloon)
_OTHERS = (house, tree, flower, apple, mug, teapot, chair, umbrella)
DRAWINGS: dict[str, Callable[[Pen, Colour], None]] = {f.__name__: f for f in (*_ANIMALS, *_VEHICLES, *_OTHERS)}


def sprite(name: str, colour: Colour, size: int, mirrored: bool = False) -> np.ndarray:
    """The object cut to its outline: premultiplied RGBA (h, w, 4) uint8, its square `size` pixels wide."""
    pen = Pen(size)
    DRAWINGS[name](pen, colour)
    ys, xs = np.nonzero(pen.image[..., 3] > 8)
    cut = pen.image[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]
    return np.ascontiguousarray(cut[:, ::-1] if mirrored else cut)
