"""A pen for antialiased, shaded shapes on a sheet of 100 by 100 (x right, y down), and the sample's colours."""

from collections.abc import Iterator

import cv2
import numpy as np

Colour = tuple[int, int, int]

COLOURS: dict[str, Colour] = {
    "red": (205, 45, 42),
    "orange": (242, 138, 36),
    "yellow": (248, 206, 62),
    "green": (82, 160, 68),
    "turquoise": (56, 182, 176),
    "blue": (52, 108, 206),
    "purple": (128, 78, 172),
    "pink": (242, 140, 176),
    "brown": (134, 86, 52),
    "white": (246, 244, 238),
    "grey": (146, 149, 156),
    "black": (52, 52, 60),
}
INK, PAPER, WOOD, LEAF, STEEL = (34, 34, 42), (250, 248, 242), (126, 84, 52), (78, 142, 62), (150, 156, 166)
GLASS, GOLD, ROSE, BEAK, LIGHT = (186, 222, 240), (240, 196, 76), (232, 128, 140), (240, 158, 48), (255, 240, 170)

_TURN = np.linspace(0, 2 * np.pi, 40, endpoint=False)
_CIRCLE = np.stack([np.cos(_TURN), np.sin(_TURN)], 1)


def shade(colour: Colour, factor: float) -> Colour:
    """Darker below 1, nearer to white above."""
    towards = 0 if factor <= 1 else 255
    return tuple(int(v + (towards - v) * min(abs(factor - 1), 1)) for v in colour)


def curve(points, closed: bool, steps: int = 8) -> np.ndarray:
    """Catmull-Rom spline through `points` (N, 2) -> (M, 2)."""
    p = np.asarray(points, float)
    p = p[np.r_[-1 : len(p) + 2] % len(p)] if closed else np.vstack([2 * p[0] - p[1], p, 2 * p[-1] - p[-2]])
    a, b, c, d = p[:-3, None], p[1:-2, None], p[2:-1, None], p[3:, None]
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    path = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    path = path.reshape(-1, 2)
    return path if closed else np.vstack([path, p[-2]])


class Pen:
    """Draws on a premultiplied RGBA canvas (size, size, 4) uint8; every length is in hundredths of its width.

    `light` is the strength of the shading across each shape, from the upper left; 0 draws flat and without outline.
    """

    def __init__(self, size: int, light: float = 0.22):
        self.size, self.light, self.mirrored = size, light, False
        self.image = np.zeros((size, size, 4), np.uint8)

    def sides(self) -> Iterator[None]:
        """Two rounds: what is drawn in the first appears in the second mirrored at the middle."""
        for self.mirrored in (False, True):
            yield
        self.mirrored = False

    def fill(self, colour: Colour, points):
        """The polygon `points` (N, 2)."""
        p = self._pixels(points)
        if not self.light:
            cv2.fillPoly(self.image, [_fixed(p)], (*colour, 255), cv2.LINE_AA, 4)
            return
        (x0, y0), (x1, y1) = np.floor(p.min(0)).astype(int) - 1, np.ceil(p.max(0)).astype(int) + 2
        x0, y0, x1, y1 = np.clip([x0, y0, x1, y1], 0, self.size)
        part, outline = self.image[y0:y1, x0:x1], [_fixed(p - (x0, y0))]
        mask = np.zeros(part.shape[:2], np.uint8)
        cv2.fillPoly(mask, outline, 255, cv2.LINE_AA, 4)
        fall = np.linspace(-1, 1, y1 - y0)[:, None] * 0.7 + np.linspace(-1, 1, x1 - x0) * 0.3
        paint = np.full((*mask.shape, 4), 255, np.float32)
        paint[..., :3] = np.minimum(np.float32(colour) * (1.04 - self.light * fall[..., None]), 255)
        part[:] = part + (paint - part) * (mask[..., None] / np.float32(255))
        edge = (*shade(colour, 0.66), 255)
        cv2.polylines(part, outline, True, edge, max(1, self.size // 120), cv2.LINE_AA, 4)

    def poly(self, colour: Colour, *points):
        self.fill(colour, points)

    def blob(self, colour: Colour, *points):
        """The smooth closed shape through `points`."""
        self.fill(colour, curve(points, closed=True))

    def oval(self, colour: Colour, x, y, rx, ry=None, turn=0.0):
        """`turn` in degrees, clockwise."""
        cos, sin = np.cos(np.deg2rad(turn)), np.sin(np.deg2rad(turn))
        self.fill(colour, _CIRCLE * (rx, ry or rx) @ ((cos, sin), (-sin, cos)) + (x, y))

    def box(self, colour: Colour, x0, y0, x1, y1, r=0.0):
        """A rectangle with corners of radius `r`."""
        if not r:
            return self.poly(colour, (x0, y0), (x1, y0), (x1, y1), (x0, y1))
        self.fill(colour, _CIRCLE * r + np.where(_CIRCLE > 0, (x1 - r, y1 - r), (x0 + r, y0 + r)))

    def line(self, colour: Colour, width, *points):
        """The smooth open stroke through `points`, its ends round."""
        self._stroke(colour, width, curve(points, closed=False), closed=False)

    def ring(self, colour: Colour, width, x, y, r):
        self._stroke(colour, width, _CIRCLE * r + (x, y), closed=True)

    def _stroke(self, colour: Colour, width, path, closed: bool):
        thick = max(1, round(width * self.size / 100))
        cv2.polylines(self.image, [_fixed(self._pixels(path))], closed, (*colour, 255), thick, cv2.LINE_AA, 4)

    def _pixels(self, points) -> np.ndarray:
        p = np.asarray(points, float)
        return (p * (-1, 1) + (100, 0) if self.mirrored else p) * self.size / 100


def _fixed(pixels: np.ndarray) -> np.ndarray:
    return np.round(pixels * 16).astype(np.int32)  # OpenCV's fixed point: 4 fractional bits
