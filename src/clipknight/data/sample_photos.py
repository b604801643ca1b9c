"""Real photographs that come inside the package scikit-image: something to caption for who has none at hand."""

import importlib.util
from pathlib import Path

from clipknight.errors import install

SOURCE = "scikit-image"
PHOTOS = (
    "astronaut.png",
    "brick.png",
    "camera.png",
    "chelsea.png",
    "coffee.png",
    "coins.png",
    "grass.png",
    "gravel.png",
    "moon.png",
    "motorcycle_left.png",
    "rocket.jpg",
)


def sample_photos() -> dict[str, str]:
    """Path of each photograph by its name. FileNotFoundError without the package."""
    package = importlib.util.find_spec("skimage")
    if package is None:
        raise FileNotFoundError(f"the photographs come inside {SOURCE}: {install('skimage')}")
    folder = Path(next(iter(package.submodule_search_locations))) / "data"
    return {f"{SOURCE}/{name}": str(folder / name) for name in PHOTOS}
