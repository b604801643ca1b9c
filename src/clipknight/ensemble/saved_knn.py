"""A fitted KNN as a folder: keys, values, parameters and index; nothing is pickled.

Keys and values are two arrays, memory-mapped, or two folders of such parts (one, where values are the keys); in a pack
they are one safetensors, or stand in another file of it.
"""

import json
import shutil
from pathlib import Path

from clipknight.embedding.embeddings import DTYPES
from clipknight.embedding.row_parts import RowParts
from clipknight.embedding.stored_rows import restored_rows, stored_rows
from clipknight.ensemble.disk_index import INDEX, index_files, read_on_disk
from clipknight.ensemble.neighbor_search import comparable
from clipknight.ensemble.weighted_neighbors import WeightedNeighbors
from clipknight.files import atomic_folder
from clipknight.packs import place_in_pack
from clipknight.saved_files import read_array, read_description, read_tensors

import faiss
import numpy as np
from safetensors.numpy import save_file

PACKED = "knn.safetensors"
SHARED = "knn.json"  # names the file of a pack whose vectors are keys and values
REMEDY = "fit it again, as src/train_b.py --overwrite does"


def save_knn(knn: WeightedNeighbors, folder: str | Path) -> None:
    """Write what `load_knn` reads into `folder`, which appears whole. ValueError where a function gives the weights."""
    if callable(knn.weights):
        raise ValueError("weights is a function, which a folder cannot hold: use 'inverse' or 'uniform'")
    with atomic_folder(folder) as temporary:
        if isinstance(knn.keys_, RowParts):
            _save_parts(knn, temporary)
        else:
            np.save(temporary / "keys.npy", knn.keys_)
            np.save(temporary / "values.npy", knn.values_)
            if knn.index_ is not None:
                faiss.write_index(knn.index_, str(temporary / INDEX))
        params = knn.parameters | {"index": knn.index_kind_}
        text = json.dumps(params, indent=1, default=lambda number: number.item())
        (temporary / "params.json").write_text(text, encoding="utf-8")


def load_knn(folder: str | Path, remedy: str = REMEDY) -> WeightedNeighbors:
    """Read what `save_knn` wrote, or a pack holds of it. Errors: those of `saved_files`."""
    folder = Path(folder)
    types = {"index": (str,), "index_params": (dict, type(None)), "n_neighbors": (int, type(None))}
    params = read_description(folder / "params.json", remedy, **types)
    if unknown := set(params) - set(WeightedNeighbors().parameters):
        raise ValueError(f"{folder / 'params.json'} has unknown parameters {sorted(unknown)[:3]}: {remedy}")
    knn = WeightedNeighbors(**params)
    knn.check_parameters()
    arrays = _arrays(folder, knn.metric, remedy)
    index = None if knn.index == "exact" else _read_index(folder, arrays[0].shape, remedy)
    knn.index_folder_ = folder  # of one on disk
    return knn.hold(*arrays, index)


def pack_arrays(
    knn: WeightedNeighbors, folder: Path, bits: int = 32, there: tuple[str, np.ndarray] = ("", np.empty(0))
) -> None:
    """Write keys, and values unless they are the keys, as one safetensors, in so many bits a number.

    `there` names a file of the pack and the vectors in it: if its first are keys and values, it alone is named.
    """
    keys, values = knn.keys_[:], knn.values_[:]  # in memory, where they were in parts
    arrays = {"keys": keys}
    if not np.array_equal(keys, values):
        arrays["values"] = values
    elif np.array_equal(keys, there[1][: len(keys)]):
        (folder / SHARED).write_text(json.dumps({"vectors": there[0], "rows": len(keys)}), encoding="utf-8")
        return
    tensors = {}
    for name, rows in arrays.items():
        tensors |= stored_rows(name, rows, 16 if bits == 8 and rows.ndim == 1 else bits)
    save_file(tensors, folder / PACKED)


def _save_parts(knn: WeightedNeighbors, folder: Path) -> None:
    """Write each part of keys and values as it is stored, and copy the index from where it was built."""
    rows = {"keys": knn.keys_.parts}
    if any(a is not b for a, b in zip(knn.keys_.parts, knn.values_.parts)):
        rows["values"] = knn.values_.parts
    for name, parts in rows.items():
        (folder / name).mkdir()
        for number, part in enumerate(parts):
            np.save(folder / name / f"{number:05}.npy", part)
    for file in index_files(knn.index_folder_) if knn.index_ is not None else ():
        shutil.copyfile(file, folder / file.name)


def _parts(folder: Path, metric: str, remedy: str) -> tuple[RowParts, RowParts]:
    files = sorted((folder / "keys").glob("*.npy"))
    keys = [read_array(file, remedy, dtypes=DTYPES) for file in files]
    values = [read_array(file, remedy, dtypes=DTYPES) for file in sorted((folder / "values").glob("*.npy"))] or keys
    if not keys or sum(map(len, keys)) != sum(map(len, values)):
        raise ValueError(f"{folder} has {sum(map(len, keys)):,} keys and {sum(map(len, values)):,} values: {remedy}")
    return RowParts(keys, metric == "cosine", files), RowParts(values)


def _arrays(folder: Path, metric: str, remedy: str) -> tuple[np.ndarray, np.ndarray] | tuple[RowParts, RowParts]:
    if (folder / "keys").is_dir():
        return _parts(folder, metric, remedy)
    if (folder / SHARED).is_file():
        shared = read_description(folder / SHARED, remedy, vectors=(str,), rows=(int,))
        file = Path(place_in_pack(folder, shared["vectors"]))
        keys, values = _packed_arrays(file, metric, remedy)
        return keys[: shared.get("rows")], values[: shared.get("rows")]
    if (folder / PACKED).is_file():
        return _packed_arrays(folder / PACKED, metric, remedy)
    return _mapped_arrays(folder, remedy)


def _mapped_arrays(folder: Path, remedy: str) -> tuple[np.ndarray, np.ndarray]:
    keys = read_array(folder / "keys.npy", remedy)
    values = read_array(folder / "values.npy", remedy, len(keys), ndims=(1, 2), dtypes=("float32", "float64"))
    for name, array in (("keys", keys), ("values", values)):
        if not np.isfinite([array.min(), array.max()]).all():  # without a copy of what may be larger than memory
            raise ValueError(f"{folder / name}.npy holds NaN or infinity: {remedy}")
    return keys, values


def _packed_arrays(file: Path, metric: str, remedy: str) -> tuple[np.ndarray, np.ndarray]:
    tensors = read_tensors(file, remedy)
    keys = restored_rows("keys" if "keys" in tensors else "vectors", tensors)
    values = restored_rows("values", tensors) if "values" in tensors else keys
    if keys.ndim != 2 or values.ndim not in (1, 2) or len(keys) != len(values):
        raise ValueError(f"{file} holds keys of the shape {keys.shape} and values of {values.shape}: {remedy}")
    return comparable(keys.astype(np.float32, copy=False), metric), values  # those of fewer bits lost their length 1


def _read_index(folder: Path, shape: tuple[int, int], remedy: str) -> faiss.Index:
    """faiss's index of the keys of that shape. ValueError for a broken file, and for an index of other keys."""
    file = folder / INDEX
    try:
        index = read_on_disk(folder) if (folder / "keys").is_dir() else faiss.read_index(str(file))
    except RuntimeError as error:  # whose words name faiss's own source
        raise ValueError(f"{file} is no whole index: {remedy}") from error
    if (index.ntotal, index.d) != shape:
        raise ValueError(
            f"{file} has {index.ntotal:,} rows of {index.d}, the keys are {shape[0]:,} of {shape[1]}: {remedy}"
        )
    return index
