"""Files that the project wrote, read back with every doubt: cut short by a kill, edited, or of another program.

Each reader raises ValueError with the file, what is wrong with it, and `remedy`: the command that makes it anew.
Nothing is unpickled.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from clipknight.messages import KINDS

import numpy as np


class Description(dict):
    """What a file says by name. ValueError, as of a reader, for a name of which it says nothing."""

    def __init__(self, values: Mapping, path: str | Path, remedy: str):
        super().__init__(values)
        self.path, self.remedy = path, remedy

    def __missing__(self, name):
        raise ValueError(f"{self.path} says nothing of {name!r}: {self.remedy}")

    def check(self, **types) -> None:
        """ValueError for a value, among those that are there, of another type than that given under its name."""
        for name, kind in types.items():
            if name in self and not _is(self[name], kind):
                value = repr(self[name])
                shown = value if len(value) <= 80 else value[:79] + "…"
                wrong = f"has {name}: {shown}, not {' or '.join(KINDS.get(k, k.__name__) for k in kind)}"
                raise _unlike(Path(self.path), wrong, self.remedy)


def read_array(
    path: str | Path, remedy: str, rows: int | None = None, ndims: tuple = (2,), dtypes: tuple = ("float32",)
) -> np.ndarray:
    """An array of `rows` rows, of one of `ndims` and `dtypes`, memory-mapped."""
    path = _there(path, remedy)
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise _unlike(path, f"is no array of numbers ({error})", remedy) from error
    if array.dtype.name not in dtypes or not array.dtype.isnative:
        raise _unlike(path, f"holds {array.dtype}, not {' or '.join(dtypes)}", remedy)
    if array.ndim not in ndims or (rows is not None and len(array) != rows):
        wanted = f"{' or '.join(map(str, ndims))} dimensions" + ("" if rows is None else f" and {rows:,} rows")
        raise _unlike(path, f"has the shape {array.shape}, not {wanted}", remedy)
    return array


def read_tensors(path: str | Path, remedy: str) -> dict:
    """The tensors of a safetensors file by name, all finite."""
    return read_noted_tensors(path, remedy)[0]


def read_noted_tensors(path: str | Path, remedy: str) -> tuple[Description, Description]:
    """The tensors of a safetensors file by name, all finite, and the texts that were noted with them."""
    from safetensors import SafetensorError, safe_open

    path = _there(path, remedy)
    try:
        with safe_open(path, "pt") as saved:
            tensors, notes = {name: saved.get_tensor(name) for name in saved.keys()}, saved.metadata() or {}
    except (SafetensorError, OSError, ValueError) as error:
        raise _unlike(path, f"cannot be read as weights ({error})", remedy) from error
    if odd := [name for name, tensor in tensors.items() if tensor.is_floating_point() and not tensor.isfinite().all()]:
        raise _unlike(path, f"holds NaN or infinity in {odd[0]}", remedy)
    return Description(tensors, path, remedy), Description(notes, path, remedy)


def read_checkpoint(path: str | Path, remedy: str) -> dict:
    """What `torch.save` wrote, tensors and plain values alone, on the CPU."""
    import pickle

    import torch

    path = _there(path, remedy)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise _unlike(path, f"is no whole checkpoint ({error or 'it is cut off'})", remedy) from error
    if not isinstance(state, dict):
        raise _unlike(path, f"holds a {type(state).__name__}, not a checkpoint", remedy)
    return Description(state, path, remedy)


def read_description(path: str | Path, remedy: str, **types: tuple) -> Description:
    """A JSON object: run.json, encoder.json, head.json, …; what it says of a name in `types` is of one of these."""
    path = _there(path, remedy)
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise _unlike(path, f"is no JSON ({error})", remedy) from error
    if not isinstance(description, dict):
        raise _unlike(path, f"holds a {type(description).__name__}, not an object of names and values", remedy)
    description = Description(description, path, remedy)
    description.check(**types)
    return description


def load_weights(module, tensors: dict, path: str | Path, remedy: str, strict: bool = True):
    """Give `module` (a torch.nn.Module) all its weights. ValueError for missing, surplus and wrong-shaped ones.

    Unless it is `strict`, missing and surplus ones are not refused but returned, as torch does.
    """
    try:
        return module.load_state_dict(tensors, strict=strict)
    except RuntimeError as error:
        raise _unlike(Path(path), f"does not fit: {str(error).partition(chr(9))[2]}", remedy) from error


def _is(value, kind: tuple) -> bool:
    """Whether a value is of one of the types; true and false are no numbers."""
    return isinstance(value, kind) and (bool in kind or not isinstance(value, bool))


def _there(path: str | Path, remedy: str) -> Path:
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there: {remedy}")
    return path


def _unlike(path: Path, wrong: str, remedy: str) -> ValueError:
    wrong = " ".join(wrong.split())
    return ValueError(f"{path} {wrong if len(wrong) <= 160 else wrong[:157] + '…'}: {remedy}")
