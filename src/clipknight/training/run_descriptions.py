"""What run.json and settings.yaml of a run say: the types of their entries, and how they compare with others."""

import dataclasses
import os
import platform
from collections.abc import Mapping

from clipknight import __version__
from clipknight.settings import changes_result, same

SCRIPTS_OF_RUNS = ("train_a", "train_b", "train_clip", "train_knight", "train_maccap", "blend", "refine", "recognise")
# Runs made before 0.4.0 name the class that predicts, by the place it had then.
KINDS_OF_OLD_RUNS = {
    "clipknight.model_a:ModelAPredictor": "model_a",
    "clipknight.model_b:ModelBPredictor": "model_b",
    "clipknight.blending:BlendPredictor": "blend",
    "clipknight.stacking:StackPredictor": "bands",
}
# The types of what run.json says, and of those settings that other scripts than the run's own read.
INFO = dict.fromkeys(("script", "kind", "predictor", "weights_from", "encoder_fingerprint"), (str,))
INFO |= dict.fromkeys(("members", "weights", "space"), (list,)) | {"finished": (bool,)}
INFO |= dict.fromkeys(("summary", "dataset"), (dict,))
SETTINGS = dict.fromkeys(("data", "encoder", "target_encoder", "precision", "features", "from_", "decoder"), (str,))
SETTINGS |= dict.fromkeys(("space", "corpus_separator", "image_column", "caption_column", "split_column"), (str,))
SETTINGS |= {"corpus": (list,), "corpus_share": (int, float), "seed": (int,), "flip_tta": (bool,), "tta_sizes": (list,)}
SETTINGS |= {"skip_unreadable": (bool,)}


def kind_of(info: Mapping) -> str:
    """What a run with that run.json holds; "" for an old run of another kind than those that predict."""
    return info.get("kind") or KINDS_OF_OLD_RUNS.get(info.get("predictor", ""), "")


def script_of(info: Mapping) -> str:
    """The script that made a run with that run.json, as users call it."""
    script = info.get("script")
    return f"src/{script}.py" if script in SCRIPTS_OF_RUNS else "the script that made it"


def changed_settings(before: Mapping, settings) -> list[str]:
    """Those of a run's settings `before` that the results depend on and `settings` has otherwise: "name old -> new"."""
    fields, no_factory = dataclasses.fields(settings), dataclasses.MISSING
    defaults = {f.name: f.default if f.default_factory is no_factory else f.default_factory() for f in fields}
    before = {**defaults, **before}  # a setting that the run does not know yet had its default's effect
    return [
        f"{field.name} {before.get(field.name)!r} -> {getattr(settings, field.name)!r}"
        for field in fields
        if changes_result(field) and not same(field, before.get(field.name), getattr(settings, field.name))
    ]


def machine() -> dict:
    """What a number was measured on."""
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "clipknight": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "gpu": gpu,
    }
