"""Files that the project wrote, read back with every doubt: cut short by a kill, edited, or of another program.

Each reader raises ValueError with the file, what is wrong with it, and `remedy`: the command that makes it anew.
Nothing is unpickled.
"""

import json
from pathlib import Path

import numpy as np


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
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = _there(path, remedy)
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise _unlike(path, f"cannot be read as weights ({error})", remedy) from error
    if odd := [name for name, tensor in tensors.items() if tensor.is_floating_point() and not tensor.isfinite().all()]:
        raise _unlike(path, f"holds NaN or infinity in {odd[0]}", remedy)
    return tensors


def read_checkpoint(path: str | Path, remedy: str) -> dict:
    """What `torch.save` wrote, tensors and plain values alone, on the CPU."""
    import pickle

    import torch

    path = _there(path, remedy)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise _unlike(path, f"is no whole checkpoint ({error})", remedy) from error
    if not isinstance(state, dict):
        raise _unlike(path, f"holds a {type(state).__name__}, not a checkpoint", remedy)
    return state


def read_description(path: str | Path, remedy: str) -> dict:
    """A JSON object: run.json, encoder.json, head.json, …"""
    path = _there(path, remedy)
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise _unlike(path, f"is no JSON ({error})", remedy) from error
    if not isinstance(description, dict):
        raise _unlike(path, f"holds a {type(description).__name__}, not an object of names and values", remedy)
    return description


def load_weights(module, tensors: dict, path: str | Path, remedy: str) -> None:
    """Give `module` (a torch.nn.Module) all its weights. ValueError for missing, surplus and wrong-shaped ones."""
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        raise _unlike(Path(path), f"does not fit: {str(error).partition(chr(9))[2]}", remedy) from error


def _there(path: str | Path, remedy: str) -> Path:
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there: {remedy}")
    return path


def _unlike(path: Path, wrong: str, remedy: str) -> ValueError:
    wrong = " ".join(wrong.split())
    return ValueError(f"{path} {wrong if len(wrong) <= 160 else wrong[:157] + '…'}: {remedy}")
