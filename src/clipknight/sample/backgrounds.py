"""The places of the built-in sample, one short drawing each. Horizons lie near the middle; feet go below them."""

from collections.abc import Callable

from clipknight.sample.pen import GLASS, PAPER, WOOD, Colour, Pen, shade

import cv2
import numpy as np

Rng = np.random.Generator


# Parts that several drawings share.


def fade(p: Pen, y0: float, y1: float, *colours: Colour):
    """A band of colour that runs evenly through `colours` from top to bottom."""
    rows = slice(round(y0 * p.size), round(y1 * p.size))
    stops = np.linspace(0, 1, len(colours))
    at = np.linspace(0, 1, rows.stop - rows.start)
    p.image[rows, :, :3] = np.stack([np.interp(at, stops, c) for c in zip(*colours)], 1)[:, None]
    p.image[rows, :, 3] = 255


def noise(rng: Rng, height: int, width: int, cells: tuple[int, ...], flat: float = 1.0) -> np.ndarray:
    """Cloudy values about 0, (height, width): grids of so many cells, summed; `flat` > 1 stretches them sideways."""
    total = np.zeros((height, width), np.float32)
    for n in cells:
        coarse = rng.standard_normal((max(2, n * height // width), max(2, round(n / flat))), np.float32)
        total += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR) / len(cells)
    return total


def grain(p: Pen, rng: Rng, y0: float, y1: float, amount: float, flat: float = 3.0):
    """Mottle a band, as ground and water are."""
    rows = slice(round(y0 * p.size), round(y1 * p.size))
    rough = noise(rng, rows.stop - rows.start, p.size, (8, 24, 80, 160), flat) * amount
    p.image[rows, :, :3] = np.clip(p.image[rows, :, :3] + rough[..., None], 0, 255)


def soften(image: np.ndarray, sigma: float) -> np.ndarray:
    """A wide blur, done at half the size for speed."""
    h, w = image.shape[:2]
    half = cv2.resize(image, (w // 2, h // 2), interpolation=cv2.INTER_AREA)
    return cv2.resize(cv2.GaussianBlur(half, (0, 0), sigma / 2), (w, h), interpolation=cv2.INTER_LINEAR)


def ridge(p: Pen, rng: Rng, colour: Colour, y: float, height: float, knots: int, smooth: bool = True) -> np.ndarray:
    """Hills, or peaks where not smooth, from `y` upwards; returns their skyline (n, 2)."""
    x, tops = np.linspace(-0.05, 1.05, 90), rng.uniform(0, 1, knots)
    if not smooth:
        tops = 0.35 * tops + 0.65 * (np.arange(knots) % 2)
    at = np.linspace(0, knots - 1, 90)
    low = np.floor(at).astype(int).clip(0, knots - 2)
    t = at - low
    t = (1 - np.cos(np.pi * t)) / 2 if smooth else t
    skyline = np.stack([x, y - height * (tops[low] * (1 - t) + tops[low + 1] * t)], 1)
    p.fill(colour, np.vstack([skyline, [[1.05, 1.05], [-0.05, 1.05]]]))
    return skyline


def clouds(p: Pen, rng: Rng, count: int, colour: Colour = (255, 255, 255), until: float = 0.34):
    """Soft heaps; everything drawn before them is softened too."""
    for _ in range(count):
        x, y, w = rng.uniform(0, 1), rng.uniform(0.05, until), rng.uniform(0.06, 0.11)
        for dx, dy, r in ((-1, 0.1, 0.5), (-0.4, -0.25, 0.65), (0.3, -0.35, 0.7), (1, 0.05, 0.55), (0, 0.15, 0.6)):
            p.oval(colour, x + dx * w, y + dy * w, r * w * 1.15, r * w * 0.8)
    p.image[:] = soften(p.image, p.size / 110)


def firs(p: Pen, rng: Rng, colour: Colour, y: float, tall: float, count: int):
    for x in (np.arange(count) + rng.uniform(-0.3, 0.3, count)) / (count - 1):
        h, w = tall * rng.uniform(0.7, 1.15), tall * rng.uniform(0.2, 0.26)
        p.box(shade(WOOD, 0.7), x - 0.04 * tall, y - 0.1 * h, x + 0.04 * tall, y + 0.012)
        for low, high, wide in ((0.08, 0.5, 1), (0.33, 0.75, 0.78), (0.58, 1, 0.55)):
            p.poly(colour, (x - wide * w, y - low * h), (x, y - high * h), (x + wide * w, y - low * h))


def stars(p: Pen, rng: Rng, count: int, until: float = 1.0):
    for x, y, r in rng.uniform(0, 1, (count, 3)):
        p.oval(shade((200, 210, 255), 1 + r), x, y * until, 0.0012 + 0.0028 * r**4)


def blades(p: Pen, rng: Rng, colours: tuple[Colour, ...], y0: float, count: int):
    """Grass, longer towards the viewer."""
    for x, y, lean, c in zip(*rng.uniform(0, 1, (3, count)), rng.integers(len(colours), size=count)):
        y = y0 + (1 - y0) * y
        tall = 0.012 + 0.05 * (y - y0)
        p.poly(colours[c], (x - 0.003, y), (x + (lean - 0.5) * 0.03, y - tall), (x + 0.003, y))


def blooms(p: Pen, rng: Rng, y0: float, count: int):
    petals = ((246, 240, 236), (244, 206, 84), (226, 120, 150), (164, 130, 214))
    for x, y, c in zip(rng.uniform(0, 1, count), np.sort(rng.uniform(y0, 1, count)), rng.integers(4, size=count)):
        r = 0.003 + 0.012 * (y - y0)
        for dx, dy in ((-1, 0), (1, 0), (0, -1), (0, 1)):
            p.oval(petals[c], x + dx * r, y + dy * r, r)
        p.oval((236, 170, 60), x, y, 0.6 * r)


# Places.


def beach(p: Pen, rng: Rng):
    fade(p, 0, 0.5, (104, 178, 232), (214, 236, 246))
    clouds(p, rng, 4)
    fade(p, 0.44, 0.64, (30, 118, 178), (88, 196, 206))
    for y in rng.uniform(0.46, 0.6, 14):
        x = rng.uniform(0, 1)
        p.line((190, 230, 238), 0.004, (x, y), (x + rng.uniform(0.03, 0.12), y))
    for colour, y in (((244, 250, 250), 0.59), ((214, 186, 136), 0.612), ((240, 216, 164), 0.64)):
        wave = [(x, y + 0.008 * np.sin(9 * x + 40 * y)) for x in np.linspace(0, 1, 40)]
        p.poly(colour, *wave, (1, 1), (0, 1))
    grain(p, rng, 0.66, 1, 22)
    for x, y, r in rng.uniform(0, 1, (26, 3)):
        p.oval(shade((226, 196, 150), 0.8 + 0.6 * r), x, 0.68 + 0.32 * y, 0.003 + 0.005 * r * y, 0.002 + 0.003 * r * y)


def sea(p: Pen, rng: Rng):
    fade(p, 0, 0.5, (120, 186, 236), (232, 240, 240))
    clouds(p, rng, 5)
    fade(p, 0.48, 1, (52, 130, 182), (26, 96, 156), (16, 66, 124))
    grain(p, rng, 0.48, 1, 26, 6)
    for y in np.sort(rng.uniform(0.5, 1, 90)):
        x, w = rng.uniform(-0.05, 1), 0.02 + 0.12 * (y - 0.48)
        p.line(
            shade((70, 150, 200), rng.uniform(0.9, 1.5)),
            0.003 + 0.008 * (y - 0.48),
            (x, y),
            (x + w / 2, y - 0.1 * w),
            (x + w, y),
        )


def underwater(p: Pen, rng: Rng):
    fade(p, 0, 1, (86, 200, 220), (34, 134, 184), (14, 72, 128))
    light = np.zeros((p.size, p.size), np.uint8)
    for x in rng.uniform(0, 1, 5):
        ray = np.array([(x, -0.05), (x + 0.06, -0.05), (x + 0.02, 0.9), (x - 0.14, 0.9)]) * p.size
        cv2.fillPoly(light, [ray.astype(np.int32)], 36)
    light = soften(light, p.size / 40) * np.linspace(1, 0, p.size, dtype=np.float32)[:, None]
    p.image[..., :3] = np.minimum(p.image[..., :3] + light[..., None], 255)
    ridge(p, rng, (30, 98, 132), 0.93, 0.12, 6)
    ridge(p, rng, (198, 182, 136), 0.96, 0.05, 5)
    for x in rng.uniform(0, 1, 7):
        green, tall = shade((40, 128, 92), rng.uniform(0.8, 1.2)), rng.uniform(0.1, 0.24)
        p.line(green, 0.016, *[(x + 0.02 * np.sin(9 * t + 9 * x), 0.97 - t * tall) for t in np.linspace(0, 1, 6)])
    for x in rng.uniform(0, 1, 4):
        coral = ((222, 104, 110), (232, 150, 84), (190, 110, 180))[rng.integers(3)]
        for a in (-0.9, -0.45, 0, 0.45, 0.9):
            p.line(
                coral,
                0.02,
                (x, 0.98),
                (x + 0.05 * np.sin(a), 0.98 - 0.06 * np.cos(a)),
                (x + 0.08 * np.sin(a), 0.98 - 0.11 * np.cos(a)),
            )
    for x, y, r in rng.uniform(0, 1, (16, 3)):
        p.ring((206, 240, 246), 0.003, x, y * 0.85, 0.004 + 0.011 * r)


def desert(p: Pen, rng: Rng):
    fade(p, 0, 0.6, (112, 176, 222), (250, 226, 178))
    p.oval((255, 246, 206), rng.uniform(0.15, 0.85), 0.2, 0.06)
    p.image[:] = soften(p.image, p.size / 60)
    ridge(p, rng, (214, 158, 112), 0.6, 0.16, 5, smooth=False)
    for colour, y, h in (((230, 178, 112), 0.66, 0.14), ((238, 192, 124), 0.76, 0.1)):
        top = ridge(p, rng, colour, y, h, 4)
        p.fill(shade(colour, 0.84), np.vstack([top, top[::-1] + [0.04, 0.05]]))
    fade(p, 0.76, 1, (240, 196, 128), (226, 172, 100))
    grain(p, rng, 0.6, 1, 18, 5)
    for y in np.linspace(0.79, 0.99, 9):
        wave = [(x, y + 0.006 * np.sin(8 * x + 30 * y)) for x in np.linspace(0, 1, 24)]
        p.line((218, 164, 96), 0.003, *wave)


def forest(p: Pen, rng: Rng):
    fade(p, 0, 0.7, (186, 214, 214), (226, 236, 214))
    for colour, y, tall, n in (
        ((142, 180, 164), 0.6, 0.34, 12),
        ((92, 142, 112), 0.67, 0.44, 9),
        ((46, 98, 70), 0.73, 0.6, 7),
    ):
        firs(p, rng, colour, y, tall, n)
        p.box(shade(colour, 0.92), 0, y, 1, 1)
    fade(p, 0.68, 1, (72, 108, 58), (104, 112, 58), (98, 90, 52))
    grain(p, rng, 0.68, 1, 34)
    blades(p, rng, ((62, 110, 58), (120, 138, 70), (88, 128, 62)), 0.7, 130)


def night(p: Pen, rng: Rng):
    fade(p, 0, 0.75, (12, 16, 48), (28, 44, 96), (74, 84, 138))
    grain(p, rng, 0, 0.75, 14, 1)
    stars(p, rng, 190, 0.66)
    ridge(p, rng, (30, 42, 82), 0.66, 0.16, 6)
    ridge(p, rng, (26, 44, 66), 0.7, 0.08, 5)
    firs(p, rng, (18, 32, 52), 0.7, 0.12, 16)
    fade(p, 0.69, 1, (36, 62, 72), (48, 80, 76))
    grain(p, rng, 0.69, 1, 22)
    blades(p, rng, ((34, 62, 66), (70, 104, 94)), 0.71, 110)


def city(p: Pen, rng: Rng):
    fade(p, 0, 0.7, (138, 182, 222), (236, 232, 222))
    clouds(p, rng, 3)
    for colour, low, tall, n in (((158, 176, 198), 0.3, 0.3, 10), ((104, 120, 146), 0.12, 0.34, 7)):
        x = -0.04
        while x < 1:
            w, top = rng.uniform(0.8, 1.2) / n, 0.7 - low - rng.uniform(0, tall)
            wall = shade(colour, rng.uniform(0.88, 1.12))
            p.box(wall, x, top, x + w - 0.006, 0.72)
            lit = rng.random((40, 4)) < 0.35
            for r, y in enumerate(np.arange(top + 0.02, 0.68, 0.032)):
                for c in range(4):
                    left = x + w * (0.12 + 0.21 * c)
                    p.box((250, 226, 150) if lit[r, c] else shade(wall, 0.74), left, y, left + 0.11 * w, y + 0.017)
            x += w
    p.box((188, 186, 180), 0, 0.7, 1, 0.765)
    p.box((150, 148, 146), 0, 0.76, 1, 0.775)
    fade(p, 0.775, 1, (92, 94, 102), (74, 76, 86))
    grain(p, rng, 0.7, 1, 14)
    for x in np.arange(-0.05, 1, 0.25):
        p.poly((232, 226, 206), (x, 0.9), (x + 0.13, 0.9), (x + 0.125, 0.918), (x - 0.008, 0.918))


def snow(p: Pen, rng: Rng):
    fade(p, 0, 0.6, (158, 192, 224), (232, 238, 246))
    clouds(p, rng, 3)
    ridge(p, rng, (206, 220, 236), 0.58, 0.2, 6)
    ridge(p, rng, (222, 232, 244), 0.64, 0.12, 4)
    firs(p, rng, (92, 128, 128), 0.64, 0.17, 9)
    fade(p, 0.64, 1, (226, 234, 246), (244, 247, 252))
    grain(p, rng, 0.64, 1, 12, 4)
    for x, y, w in rng.uniform(0, 1, (9, 3)):
        p.oval((212, 224, 242), x, 0.7 + 0.3 * y, 0.03 + 0.07 * w, 0.004 + 0.005 * w)


def meadow(p: Pen, rng: Rng):
    fade(p, 0, 0.6, (98, 170, 230), (220, 238, 248))
    clouds(p, rng, 5)
    ridge(p, rng, (134, 182, 148), 0.6, 0.14, 5)
    ridge(p, rng, (118, 178, 96), 0.64, 0.09, 4)
    fade(p, 0.635, 1, (128, 190, 84), (88, 158, 62))
    grain(p, rng, 0.635, 1, 24)
    blades(p, rng, ((76, 148, 54), (150, 202, 98), (104, 172, 70)), 0.64, 190)
    blooms(p, rng, 0.65, 46)


def mountains(p: Pen, rng: Rng):
    fade(p, 0, 0.6, (112, 172, 226), (230, 238, 244))
    clouds(p, rng, 3, until=0.2)
    for colour, y, h, n in (((150, 168, 196), 0.56, 0.4, 8), ((112, 128, 160), 0.64, 0.34, 7)):
        top = ridge(p, rng, colour, y, h, n, smooth=False)
        depth = 0.5 * np.maximum(y - 0.5 * h - top[:, 1], 0)
        snowline = top + np.stack([np.zeros(90), depth * (1 + 0.35 * np.sin(np.arange(90) * 1.9))], 1)
        p.fill((244, 248, 252), np.vstack([top, snowline[::-1]]))
        slope = np.vstack([top[1:], top[-1:]])[:, 1] > top[:, 1]
        p.image[..., :3] = _shaded_right(p, top, slope)
    ridge(p, rng, (92, 134, 96), 0.68, 0.08, 5)
    firs(p, rng, (58, 104, 80), 0.69, 0.11, 18)
    fade(p, 0.685, 1, (122, 164, 88), (96, 138, 70))
    grain(p, rng, 0.685, 1, 26)
    for x, y, r in rng.uniform(0, 1, (9, 3)):
        p.oval(shade((146, 148, 150), 0.8 + 0.4 * r), x, 0.72 + 0.27 * y, 0.008 + 0.018 * r * y, 0.005 + 0.01 * r * y)


def _shaded_right(p: Pen, top: np.ndarray, falling: np.ndarray) -> np.ndarray:
    """Darken what lies under the falling slopes, as if the light came from the left."""
    mask = np.zeros((p.size, p.size), np.uint8)
    for (x0, y0), (x1, y1), down in zip(top[:-1], top[1:], falling):
        if down:
            side = np.array([(x0, y0), (x1, y1), (x1, y1 + 0.3), (x0, y0 + 0.3)]) * p.size
            cv2.fillPoly(mask, [side.astype(np.int32)], 255)
    return (p.image[..., :3] * (1 - 0.16 * (mask[..., None] > 0))).astype(np.uint8)


def room(p: Pen, rng: Rng):
    wall = ((214, 196, 170), (184, 202, 196), (204, 190, 208), (196, 206, 178))[rng.integers(4)]
    fade(p, 0, 0.7, shade(wall, 1.15), wall)
    for x in np.arange(0.02, 1, 0.08):
        p.box(shade(wall, 0.95), x, 0, x + 0.03, 0.68)
    x = rng.choice([0.08, 0.58])
    p.box(PAPER, x, 0.1, x + 0.34, 0.46)
    for dx, dy in ((0.02, 0.02), (0.18, 0.02), (0.02, 0.19), (0.18, 0.19)):
        p.box(GLASS, x + dx, 0.1 + dy, x + dx + 0.14, 0.1 + dy + 0.15)
    for side in (x - 0.05, x + 0.33):
        p.box(shade((196, 120, 100), 1.2), side, 0.07, side + 0.06, 0.52)
    frame = 0.62 if x < 0.3 else 0.14
    p.box(shade(WOOD, 0.9), frame, 0.14, frame + 0.24, 0.34)
    p.box((150, 186, 204), frame + 0.02, 0.16, frame + 0.22, 0.26)
    p.box((120, 158, 112), frame + 0.02, 0.25, frame + 0.22, 0.32)
    p.box(PAPER, 0, 0.67, 1, 0.7)
    fade(p, 0.7, 1, (156, 106, 66), (190, 136, 88))
    for t in np.linspace(-1.6, 2.6, 22):
        p.line((132, 88, 54), 0.003, (0.5 + (t - 0.5) * 0.6, 0.7), (t, 1))
    grain(p, rng, 0.7, 1, 16, 0.5)
    rug = ((170, 66, 62), (70, 96, 140), (92, 124, 96))[rng.integers(3)]
    p.oval(rug, 0.5, 0.87, 0.4, 0.09)
    p.oval(shade(rug, 1.25), 0.5, 0.87, 0.34, 0.07)


def table(p: Pen, rng: Rng):
    tile = ((206, 222, 226), (226, 216, 200), (204, 220, 200))[rng.integers(3)]
    fade(p, 0, 0.6, shade(tile, 0.93), tile)
    for y in range(7):
        for x in range(-1, 10):
            left, top = 0.115 * (x + 0.5 * (y % 2)), 0.09 * y
            p.box(shade(tile, rng.uniform(0.97, 1.3)), left, top, left + 0.108, top + 0.083)
    p.image[:] = soften(p.image, p.size / 130)
    fade(p, 0.6, 0.96, (178, 122, 76), (206, 150, 98))
    fade(p, 0.96, 1, (140, 92, 56), (112, 72, 44))
    for y in (0.66, 0.74, 0.84):
        p.line((146, 96, 58), 0.004, (0, y), (1, y))
    grain(p, rng, 0.6, 0.96, 30, 12)


def sunset(p: Pen, rng: Rng):
    fade(p, 0, 0.66, (70, 60, 120), (196, 92, 118), (250, 152, 84), (255, 214, 128))
    for y in rng.uniform(0.08, 0.45, 9):
        x, w = rng.uniform(0, 1), rng.uniform(0.12, 0.3)
        p.oval(shade((244, 140, 110), rng.uniform(0.8, 1.3)), x, y, w, 0.012)
    p.image[:] = soften(p.image, p.size / 80)
    p.oval((255, 240, 176), rng.uniform(0.2, 0.8), 0.56, 0.09)
    ridge(p, rng, (150, 80, 102), 0.64, 0.1, 6)
    ridge(p, rng, (112, 70, 88), 0.69, 0.07, 4)
    fade(p, 0.685, 1, (122, 88, 72), (88, 70, 62))
    grain(p, rng, 0.685, 1, 24)
    blades(p, rng, ((84, 66, 58), (160, 108, 76), (126, 88, 66)), 0.7, 130)


def space(p: Pen, rng: Rng):
    fade(p, 0, 1, (10, 10, 30), (22, 16, 48), (8, 10, 28))
    for glow in ((60, 24, 74), (16, 54, 84), (70, 30, 40)):
        cloud = np.maximum(noise(rng, 64, 64, (2, 3, 7)), 0) ** 1.5
        cloud = cv2.resize(cloud, (p.size, p.size), interpolation=cv2.INTER_CUBIC)[..., None]
        p.image[..., :3] = np.clip(p.image[..., :3] + cloud * np.float32(glow) * 2.2, 0, 255)
    stars(p, rng, 260)


def garden(p: Pen, rng: Rng):
    fade(p, 0, 0.5, (126, 190, 236), (226, 240, 246))
    clouds(p, rng, 3, until=0.2)
    for x in np.arange(-0.02, 1.05, 0.075):
        green = shade((70, 132, 74), rng.uniform(0.85, 1.2))
        p.oval(green, x, 0.5 + rng.uniform(-0.02, 0.02), 0.075, 0.11)
    p.box((66, 122, 68), 0, 0.5, 1, 0.7)
    for y in (0.52, 0.62):
        p.box((232, 232, 226), 0, y, 1, y + 0.025)
    for x in np.arange(0.005, 1, 0.065):
        p.poly(PAPER, (x, 0.7), (x, 0.48), (x + 0.02, 0.45), (x + 0.04, 0.48), (x + 0.04, 0.7))
    fade(p, 0.69, 1, (116, 180, 82), (90, 158, 66))
    for i in range(-4, 10, 2):
        p.poly(
            (128, 190, 92),
            (0.5 + (i * 0.1 - 0.3) * 0.7, 0.69),
            (0.5 + (i * 0.1 - 0.2) * 0.7, 0.69),
            (i * 0.22 - 0.1, 1),
            (i * 0.22 - 0.38, 1),
        )
    grain(p, rng, 0.69, 1, 16)
    blooms(p, rng, 0.685, 10)


def studio(p: Pen, rng: Rng):
    paint = ((226, 204, 204), (204, 216, 230), (214, 226, 208), (234, 224, 200), (218, 208, 228))[rng.integers(5)]
    fade(p, 0, 1, shade(paint, 0.94), shade(paint, 1.3), shade(paint, 1.5), shade(paint, 0.86), shade(paint, 0.98))
    y, x = np.ogrid[-0.45 : 0.55 : p.size * 1j, -0.5 : 0.5 : p.size * 1j]
    p.image[..., :3] = p.image[..., :3] * (1 - 0.35 * (x * x + y * y))[..., None]


_DRAWINGS = (beach, sea, underwater, desert, forest, night, city, snow, meadow, mountains, room, table, sunset, space)
DRAWINGS: dict[str, Callable[[Pen, Rng], None]] = {f.__name__: f for f in (*_DRAWINGS, garden, studio)}


def background(name: str, rng: Rng, size: int) -> np.ndarray:
    """The place without objects: (size, size, 3) uint8."""
    pen = Pen(size, light=0)
    DRAWINGS[name](pen, rng)
    return cv2.cvtColor(pen.image, cv2.COLOR_RGBA2RGB)
