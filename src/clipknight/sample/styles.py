"""The rendering styles of the built-in sample: image filters over (H, W, 3) uint8 RGB, one function each."""

from collections.abc import Callable

import cv2
import numpy as np

Image = np.ndarray
Rng = np.random.Generator
_GREY = np.float32([0.299, 0.587, 0.114])


# Parts that several filters share.


def _bytes(values: np.ndarray) -> Image:
    return np.clip(values, 0, 255).astype(np.uint8)


def _blur(image: np.ndarray, sigma: float) -> np.ndarray:
    return cv2.GaussianBlur(image, (0, 0), sigma)


def _grey(image: Image) -> np.ndarray:
    return image @ _GREY


def _vivid(image: Image, saturation: float, contrast: float = 1.0) -> np.ndarray:
    grey = _grey(image)[..., None]
    return (grey + saturation * (image - grey) - 128) * contrast + 128


def _noise(rng: Rng, image: Image, cell: float = 1.0) -> np.ndarray:
    """Standard normal values (H, W), in blots about `cell` pixels wide."""
    h, w = image.shape[:2]
    coarse = rng.standard_normal((max(2, round(h / cell)), max(2, round(w / cell))), np.float32)
    return coarse if coarse.shape == (h, w) else cv2.resize(coarse, (w, h), interpolation=cv2.INTER_CUBIC)


def _edges(image: Image, sigma: float = 1.0) -> np.ndarray:
    """Strength of colour edges (H, W), 0..1."""
    soft = _blur(image, sigma).astype(np.float32)
    slopes = [cv2.Sobel(soft, cv2.CV_32F, *d, ksize=3) for d in ((1, 0), (0, 1))]
    return np.minimum(np.sqrt(slopes[0] ** 2 + slopes[1] ** 2).max(2) / 255, 1)


def _vignette(image: np.ndarray, strength: float) -> np.ndarray:
    h, w = image.shape[:2]
    y, x = np.ogrid[-1 : 1 : h * 1j, -1 : 1 : w * 1j]
    return image * (1 - strength * (x * x + y * y) ** 1.5 / 2.8)[..., None]


def _wobble(rng: Rng, image: Image, amount: float, cell: float) -> Image:
    """Shift pixels about, as a brush or a hand does."""
    h, w = image.shape[:2]
    y, x = np.mgrid[:h, :w].astype(np.float32)
    dx, dy = (_noise(rng, image, cell) * amount for _ in range(2))
    return cv2.remap(image, x + dx, y + dy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


# Styles.


def illustration(image: Image, rng: Rng) -> Image:
    return image


def photo(image: Image, rng: Rng) -> Image:
    """A glow of the highlights, corners a little darker, film grain."""
    glow = np.maximum(image, _blur(image, 5)) * np.float32(0.45) + image * np.float32(0.6)
    return _bytes(_vignette(glow, 0.4) + 3.5 * _noise(rng, image)[..., None])


def watercolor(image: Image, rng: Rng) -> Image:
    """Flat washes with wet, uneven, darker rims on rough paper that shows at the border."""
    wash = _wobble(rng, image, 0.9, 7)
    for _ in range(2):
        wash = cv2.bilateralFilter(wash, 7, 40, 5)
    rims = np.maximum(_blur(_edges(wash), 0.7) - 0.08, 0)[..., None]
    pigment = 1 + 0.1 * _noise(rng, image, 18) + 0.05 * _noise(rng, image, 1.6)
    painted = (255 - (255 - _vivid(wash, 1.15)) * pigment[..., None] * 0.86) * (1 - 0.32 * rims)
    h, w = image.shape[:2]
    y, x = np.ogrid[-1 : 1 : h * 1j, -1 : 1 : w * 1j]
    border = np.maximum(np.abs(x), np.abs(y)) + 0.035 * _noise(rng, image, 9)
    paper = np.clip((border - 0.93) * 18, 0, 1)[..., None]
    return _bytes(painted * (1 - paper) + np.float32([250, 247, 240]) * paper)


def oil_painting(image: Image, rng: Rng) -> Image:
    """Kuwahara's filter (each pixel takes the calmest of four quadrants) with raised strokes."""
    flat, r = _wobble(rng, image, 1.0, 5).astype(np.float32), 3
    mean = cv2.blur(flat, (r + 1, r + 1))
    spread = (cv2.blur(flat * flat, (r + 1, r + 1)) - mean * mean).sum(2)
    shifts = [(dy, dx) for dy in (-1, 2) for dx in (-1, 2)]
    spreads = np.stack([np.roll(spread, s, (0, 1)) for s in shifts])
    means = np.stack([np.roll(mean, s, (0, 1)) for s in shifts])
    paint = np.take_along_axis(means, spreads.argmin(0)[None, ..., None], 0)[0]
    strokes = cv2.filter2D(_noise(rng, image, 1.5), -1, np.eye(5, dtype=np.float32)[::-1] / 5)
    relief = strokes - np.roll(strokes, (1, 1), (0, 1))
    return _bytes(_vivid(paint, 1.3, 1.05) + 11 * relief[..., None])


def pencil_sketch(image: Image, rng: Rng) -> Image:
    """Colour dodge (grey over its blurred negative), hatched where it is dark."""
    grey = _grey(image).astype(np.float32)
    grey = cv2.normalize(_blur(grey, 0.6), None, 20, 250, cv2.NORM_MINMAX)
    lines = np.minimum((grey + 20) / (_blur(grey, 4) + 20), 1) ** 2
    hatch = cv2.filter2D(_noise(rng, image), -1, np.eye(11, dtype=np.float32)[::-1] / 11)
    tone = 1 - (1 - grey / 255) * (0.42 + 0.4 * hatch)
    return _bytes(np.repeat((250 * lines * np.minimum(tone, 1) - 90 * _edges(image))[..., None], 3, 2))


def pixel_art(image: Image, rng: Rng) -> Image:
    """One colour of a reduced palette for every 4 x 4 pixels."""
    h, w = image.shape[:2]
    small = _bytes(_vivid(cv2.resize(image, (w // 4, h // 4), interpolation=cv2.INTER_AREA), 1.25, 1.1))
    small = np.minimum(small // 25, 9) * 25 + 15
    return cv2.resize(small, (w, h), interpolation=cv2.INTER_NEAREST)


def pop_art(image: Image, rng: Rng) -> Image:
    """A few loud colours, black outlines, printer's dots in the middle tones."""
    loud = _vivid(cv2.bilateralFilter(image, 7, 60, 5), 1.7, 1.25)
    flat = np.clip(np.round(loud / 64) * 64, 0, 255)
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    dots = np.hypot((x + y) % 6 - 3, (x - y) % 6 - 3) < 3.6 * (1 - np.clip(_grey(_bytes(loud)) / 235, 0, 1))
    return _bytes((flat * (1 - 0.3 * dots[..., None]) + 12) * (_edges(image, 0.8) < 0.34)[..., None])


def sepia_photo(image: Image, rng: Rng) -> Image:
    grey = cv2.createCLAHE(2.0, (4, 4)).apply(_bytes(_blur(_grey(image), 0.5)))
    grey = grey * 0.84 + 30 + 4 * _noise(rng, image) + 4 * _noise(rng, image, 30)
    return _bytes(_vignette(grey[..., None] * np.float32([1.06, 0.88, 0.66]) + [14, 10, 4], 0.55))


def blueprint(image: Image, rng: Rng) -> Image:
    """White lines on blue squared paper."""
    lines = np.clip(_edges(image, 0.7) * 2.4 - 0.22, 0, 1)[..., None]
    paper = np.zeros(image.shape, np.float32) + np.float32([24, 66, 142]) + 4 * _noise(rng, image, 3)[..., None]
    paper += 0.06 * (_grey(image)[..., None] - 128)
    paper[::14] += 14
    paper[:, ::14] += 14
    return _bytes(paper * (1 - lines) + np.float32([226, 238, 250]) * lines)


def neon(image: Image, rng: Rng) -> Image:
    """Edges glow in the colours beside them; the rest is dark."""
    hsv = cv2.cvtColor(cv2.dilate(_blur(image, 1), np.ones((3, 3))), cv2.COLOR_RGB2HSV)
    hsv[..., 1] = np.minimum(hsv[..., 1] * 1.6, 255)
    hsv[..., 2] = 255
    tubes = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) * np.clip(_edges(image) * 1.7 - 0.15, 0, 1)[..., None]
    tubes = tubes.astype(np.float32)
    return _bytes(_vivid(image, 1.5) * 0.34 + tubes * 0.9 + _blur(tubes, 3) * 0.9)


def comic(image: Image, rng: Rng) -> Image:
    """Flat shades in ink outlines."""
    calm = cv2.bilateralFilter(image, 9, 50, 5)
    hsv = cv2.cvtColor(calm, cv2.COLOR_RGB2HSV)
    hsv[..., 2] = np.minimum(hsv[..., 2] // 36, 6) * 36 + 30
    hsv[..., 1] = np.minimum(hsv[..., 1] * 1.2, 255)
    ink = np.clip(_edges(calm, 0.7) * 3.2 - 0.45, 0, 1)[..., None]
    return _bytes(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) * (1 - ink) + 18 * ink)


def stained_glass(image: Image, rng: Rng) -> Image:
    """The mean colour of each cell of a jittered Voronoi mosaic, set in lead."""
    h, w = image.shape[:2]
    y, x = np.mgrid[4:h:8, 4:w:8].astype(float)
    y, x = (v + rng.uniform(-3, 3, v.shape) for v in (y, x))
    seeds = np.full((h, w), 255, np.uint8)
    seeds[y.astype(int).clip(0, h - 1), x.astype(int).clip(0, w - 1)] = 0
    _, cells = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    sizes = np.maximum(np.bincount(cells.ravel()), 1)
    panes = np.stack([np.bincount(cells.ravel(), image[..., c].ravel()) / sizes for c in range(3)], 1)
    panes = _vivid(panes[None], 1.6, 1.15)[0] * rng.uniform(0.88, 1.12, (len(panes), 1))
    lead = (cells != np.roll(cells, 1, 0)) | (cells != np.roll(cells, 1, 1))
    lit = 0.55 * panes[cells] + 0.45 * _vivid(image, 1.6, 1.15) + 6 * _noise(rng, image, 2)[..., None]
    lead = np.maximum(0.66 * _blur(lead.astype(np.float32), 0.5), np.clip(2.2 * _edges(image) - 0.5, 0, 0.95))
    return _bytes(lit * (1 - lead[..., None]))


def pointillism(image: Image, rng: Rng) -> Image:
    """Dots of nearly the colour below them."""
    h, w = image.shape[:2]
    canvas = _bytes(_vivid(image, 1.2) * 0.82 + 40)
    y, x = np.mgrid[0:h:4, 0:w:4].reshape(2, -1) + rng.uniform(-2, 2, (2, len(range(0, h, 4)) * len(range(0, w, 4))))
    below = image[y.astype(int).clip(0, h - 1), x.astype(int).clip(0, w - 1)]
    colours = _bytes(_vivid(below[None], 1.4, 1.08)[0] + rng.normal(0, 13, below.shape)).tolist()
    centres = np.round(np.stack([x, y], 1) * 16).astype(int).tolist()
    radii = (rng.uniform(1.3, 2.2, len(x)) * 16).astype(int).tolist()
    for i in rng.permutation(len(x)).tolist():
        cv2.circle(canvas, centres[i], radii[i], colours[i], -1, cv2.LINE_AA, 4)
    return canvas


def crayon(image: Image, rng: Rng) -> Image:
    """Waxy strokes that leave the tooth of the paper white."""
    calm = _wobble(rng, cv2.bilateralFilter(image, 5, 40, 3), 0.7, 5)
    strokes = cv2.filter2D(_noise(rng, image), -1, np.eye(9, dtype=np.float32)[::-1] / 9)
    cover = np.clip(0.9 + 0.5 * strokes + 0.09 * _noise(rng, image), 0.4, 1)[..., None]
    colour = _vivid(calm, 1.4) - 150 * np.maximum(_edges(calm) - 0.12, 0)[..., None]
    return _bytes(colour * cover + np.float32([252, 249, 242]) * (1 - cover))


_FILTERS = (illustration, photo, watercolor, oil_painting, pencil_sketch, pixel_art, pop_art, sepia_photo, blueprint)
_FILTERS += (neon, comic, stained_glass, pointillism, crayon)
FILTERS: dict[str, Callable[[Image, Rng], Image]] = {f.__name__.replace("_", " "): f for f in _FILTERS}
