"""Pictures to try the page with, which lie on the disk already and may be shown to everybody."""

from clipknight.data.sample_photos import SOURCE, sample_photos
from clipknight.paths import ROOT

OF_PROJECT = "docs/pictures/photographer.jpg"
OF_PACKAGE = ("chelsea.png", "coffee.png", "astronaut.png", "rocket.jpg")  # CC0, or in the public domain


def example_pictures() -> list[str]:
    """Files of photographs; none where neither the checkout nor scikit-image is there."""
    own = [str(ROOT / OF_PROJECT)] if (ROOT / OF_PROJECT).is_file() else []
    try:
        photos = sample_photos()
    except FileNotFoundError:
        return own
    return own + [photos[f"{SOURCE}/{name}"] for name in OF_PACKAGE if f"{SOURCE}/{name}" in photos]
