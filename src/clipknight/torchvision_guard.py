"""Lets torchvision import beside a torch build that its compiled operators do not fit.

PyPI's torchvision is compiled against the CUDA build of torch. Beside a CPU build its operators do not load, and the
import dies with `operator torchvision::nms does not exist`, taking open_clip, timm and transformers with it. None of
them calls nms here; declaring the two schemas torchvision looks for is enough. That is done when torchvision is first
imported, and not before: it takes torch, for which whoever asks for --help would wait seconds.
"""

import importlib.util
import sys
from importlib.abc import MetaPathFinder
from pathlib import Path

SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_library = None  # a torch Library is undone when it is collected, so the module keeps it


class _Guard(MetaPathFinder):
    """Asked first, and once, for torchvision, which it leaves to Python's own finders."""

    def find_spec(self, fullname, path=None, target=None):
        if fullname == "torchvision" and self in sys.meta_path:
            sys.meta_path.remove(self)
            guard_torchvision()
        return None


def guard_when_imported() -> None:
    """Have torchvision guarded as it is first imported; one that is imported already did without."""
    if "torchvision" not in sys.modules and not any(isinstance(finder, _Guard) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Guard())


def guard_torchvision() -> list[str]:
    """Declare the missing operator schemas; returns the names declared, none where the real operators load."""
    import torch

    global _library
    spec = importlib.util.find_spec("torchvision")
    if spec is None or _library is not None:
        return []
    for compiled in sorted(Path(spec.origin).parent.glob("_C*.so")):
        try:
            torch.ops.load_library(str(compiled))
        except OSError:
            pass  # built for another torch: exactly the case the schemas below are for
    missing = [name for name in SCHEMAS if not hasattr(torch.ops.torchvision, name)]
    if missing:
        _library = torch.library.Library("torchvision", "FRAGMENT")
        for name in missing:
            _library.define(SCHEMAS[name])
    return missing
