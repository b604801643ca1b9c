"""The rendering styles of the built-in sample: image filters over (H, W, 3) uint8 RGB, one function each."""

from collections.abc import Callable

import cv2
import numpy as np

Image = np.ndarray
Rng = np.random.Generator


def illustration(image: Image, rng: Rng) -> Image:
    return image


def photo(image: Image, rng: Rng) -> Image:
    """A glow of the highlights, corners a little darker, film grain."""
    glow = np.maximum(image, _blur(image, 5)) * np.float32(0.45) + image * np.float32(0.6)
    corners = 1 - 0.14 * _border(image, np.hypot) ** 3
    return _bytes(glow * corners[..., None] + 3.5 * _noise(rng, image)[..., None])


def watercolor(image: Image, rng: Rng) -> Image:
    """Flat washes with uneven, darker rims on rough paper that shows at the border."""
    wash = cv2.bilateralFilter(cv2.bilateralFilter(image, 7, 40, 5), 7, 40, 5)
    rims = np.maximum(_blur(_edges(wash), 0.7) - 0.08, 0)[..., None]
    pigment = 1 + 0.1 * _noise(rng, image, 18) + 0.05 * _noise(rng, image, 1.6)
    painted = (255 - (255 - _vivid(wash, 1.15)) * pigment[..., None] * 0.86) * (1 - 0.32 * rims)
    paper = np.clip((_border(image, np.maximum) + 0.035 * _noise(rng, image, 9) - 0.93) * 18, 0, 1)[..., None]
    return _bytes(painted * (1 - paper) + np.float32([250, 247, 240]) * paper)


def pixel_art(image: Image, rng: Rng) -> Image:
    """One colour of a reduced palette for every 4 x 4 pixels."""
    h, w = image.shape[:2]
    small = _bytes(_vivid(cv2.resize(image, (w // 4, h // 4), interpolation=cv2.INTER_AREA), 1.25, 1.1))
    return cv2.resize(np.minimum(small // 25, 9) * 25 + 15, (w, h), interpolation=cv2.INTER_NEAREST)


def comic(image: Image, rng: Rng) -> Image:
    """Flat, loud shades in ink outlines."""
    calm = cv2.bilateralFilter(_blur(image, 0.8), 9, 60, 5)
    ink = np.clip(_edges(calm) * 3.2 - 0.6, 0, 1)[..., None]
    return _bytes((_vivid(calm, 1.4, 1.1) // 36 * 36 + 18) * (1 - ink) + 18 * ink)


def pencil_sketch(image: Image, rng: Rng) -> Image:
    """Colour dodge (grey over its blurred negative), hatched where it is dark."""
    grey = _blur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32), 0.6)
    grey = cv2.normalize(grey, None, 20, 250, cv2.NORM_MINMAX)
    lines = np.minimum((grey + 60) / (_blur(grey, 4) + 60), 1) ** 2
    hatch = cv2.filter2D(_noise(rng, image), -1, np.eye(11, dtype=np.float32)[::-1] / 11)
    tone = np.minimum(1 - (1 - grey / 255) * (0.42 + 0.4 * hatch), 1)
    return _bytes(np.repeat((250 * lines * tone - 90 * _edges(image))[..., None], 3, 2))


# Parts that several filters share.


def _bytes(values: np.ndarray) -> Image:
    return np.clip(values, 0, 255).astype(np.uint8)


def _blur(image: np.ndarray, sigma: float) -> np.ndarray:
    return cv2.GaussianBlur(image, (0, 0), sigma)


def _vivid(image: Image, saturation: float, contrast: float = 1.0) -> np.ndarray:
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None].astype(np.float32)
    return (grey + saturation * (image - grey) - 128) * contrast + 128


def _noise(rng: Rng, image: Image, cell: float = 1.0) -> np.ndarray:
    """Standard normal values (H, W), in blots about `cell` pixels wide."""
    h, w = image.shape[:2]
    coarse = rng.standard_normal((round(h / cell), round(w / cell)), np.float32)
    return cv2.resize(coarse, (w, h), interpolation=cv2.INTER_CUBIC)


def _border(image: Image, norm: Callable) -> np.ndarray:
    """Distance from the middle (H, W), 1 at the middle of each side."""
    h, w = image.shape[:2]
    y, x = np.ogrid[-1 : 1 : h * 1j, -1 : 1 : w * 1j]
    return norm(np.abs(y), np.abs(x))


def _edges(image: Image, sigma: float = 1.0) -> np.ndarray:
    """Strength of colour edges (H, W), 0..1."""
    soft = _blur(image, sigma).astype(np.float32)
    slopes = [cv2.Sobel(soft, cv2.CV_32F, *d, ksize=3) for d in ((1, 0), (0, 1))]
    return np.minimum(np.hypot(*slopes).max(2) / 255, 1)


FILTERS: dict[str, Callable[[Image, Rng], Image]] = {
    f.__name__.replace("_", " "): f for f in (illustration, photo, watercolor, pixel_art, comic, pencil_sketch)
}
