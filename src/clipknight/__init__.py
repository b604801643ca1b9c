"""clipknight: what an image says, as a text embedding, and saying it. Import it before any torch library."""

import os

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # its import asks the network for a newer version

from clipknight.torchvision_guard import guard_when_imported

guard_when_imported()

__version__ = "0.4.0.dev0"
