"""clipknight: what an image says, as a text embedding, and saying it. Import it before any torch library.

>>> import clipknight
>>> clipknight.load("starter").caption("photo.jpg")                                                # doctest: +SKIP

`__all__` is public, docs/api.md describes it. Everything else may change.
"""

import importlib
import os
from typing import TYPE_CHECKING

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # its import asks the network for a newer version

from clipknight.torchvision_guard import guard_when_imported

guard_when_imported()

if TYPE_CHECKING:
    from clipknight.api.explanation import Explanation
    from clipknight.api.loading import load
    from clipknight.api.model import Model
    from clipknight.data.datasets import Dataset, read_dataset
    from clipknight.embedding.embeddings import Embeddings
    from clipknight.embedding.metrics import avg_cos
    from clipknight.ensemble.blending import blend
    from clipknight.ensemble.knn import DistanceWeightedKNN
    from clipknight.ensemble.submission import write_submission

__version__ = "0.4.0.dev0"
__all__ = [
    "Dataset",
    "DistanceWeightedKNN",
    "Embeddings",
    "Explanation",
    "Model",
    "avg_cos",
    "blend",
    "load",
    "read_dataset",
    "write_submission",
]
# Where they are: torch, which most of them take, is imported by the first that is asked for.
_PLACES = {
    "Dataset": "clipknight.data.datasets",
    "DistanceWeightedKNN": "clipknight.ensemble.knn",
    "Embeddings": "clipknight.embedding.embeddings",
    "Explanation": "clipknight.api.explanation",
    "Model": "clipknight.api.model",
    "avg_cos": "clipknight.embedding.metrics",
    "blend": "clipknight.ensemble.blending",
    "load": "clipknight.api.loading",
    "read_dataset": "clipknight.data.datasets",
    "write_submission": "clipknight.ensemble.submission",
}


def __getattr__(name: str):
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
