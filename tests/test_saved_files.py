import json

from clipknight.saved_files import (
    load_weights,
    read_array,
    read_checkpoint,
    read_description,
    read_noted_tensors,
    read_tensors,
)

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

ROWS = np.arange(6, dtype=np.float32).reshape(3, 2)


class Unpickled:
    def __reduce__(self):
        return (pytest.fail, ("unpickled",))


def objects() -> np.ndarray:
    array = np.empty((3, 2), dtype=object)
    array[:] = Unpickled()
    return array


def test_an_array_is_memory_mapped(tmp_path):
    np.save(tmp_path / "rows.npy", ROWS)
    array = read_array(tmp_path / "rows.npy", "make it anew", rows=3)
    assert isinstance(array, np.memmap)
    np.testing.assert_array_equal(array, ROWS)


@pytest.mark.parametrize(
    "array, wrong",
    [
        (ROWS.astype(np.float64), "holds float64, not float32"),
        (ROWS.astype(np.int8), "holds int8"),
        (ROWS.astype(np.complex64), "holds complex64"),
        (ROWS.astype("U8"), "holds <U8"),
        (ROWS > 0, "holds bool"),
        (objects(), "is no array of numbers"),
        (ROWS[:, 0], r"has the shape \(3,\), not 2 dimensions and 3 rows"),
        (ROWS[:2], r"has the shape \(2, 2\), not 2 dimensions and 3 rows"),
    ],
)
def test_another_array_is_refused_by_its_file_and_with_the_remedy(tmp_path, array, wrong):
    np.save(tmp_path / "rows.npy", array, allow_pickle=True)
    with pytest.raises(ValueError, match=rf"rows.npy {wrong}.*: make it anew$"):
        read_array(tmp_path / "rows.npy", "make it anew", rows=3)


@pytest.mark.parametrize("kept", [0, 5, 130])
def test_files_that_were_cut_short(tmp_path, kept):
    np.save(tmp_path / "a.npy", ROWS)
    save_file({"w": torch.ones(40)}, tmp_path / "a.safetensors")
    torch.save({"w": torch.ones(40)}, tmp_path / "a.pt")
    (tmp_path / "a.json").write_text(json.dumps({"a": list(range(99))}), encoding="utf-8")
    readers = {"a.npy": read_array, "a.safetensors": read_tensors, "a.pt": read_checkpoint, "a.json": read_description}
    for name, read in readers.items():
        file = tmp_path / name
        assert len(file.read_bytes()) > 130
        file.write_bytes(file.read_bytes()[:kept])
        with pytest.raises(ValueError, match=rf"{name} .*: make it anew$") as refused:
            read(file, "make it anew")
        assert len(str(refused.value)) < 500 and "\n" not in str(refused.value)
        file.unlink()
        with pytest.raises(FileNotFoundError, match=rf"{name} is not there: make it anew"):
            read(file, "make it anew")


def test_a_pickled_checkpoint_runs_nothing(tmp_path):
    torch.save({"w": Unpickled()}, tmp_path / "a.pt")
    with pytest.raises(ValueError, match="is no whole checkpoint"):
        read_checkpoint(tmp_path / "a.pt", "make it anew")


def test_weights_that_are_not_finite(tmp_path):
    save_file({"w": torch.tensor([1.0, torch.inf])}, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match="holds NaN or infinity in w"):
        read_tensors(tmp_path / "a.safetensors", "make it anew")


@pytest.mark.parametrize("text, wrong", [("[1]", "holds a list"), ("{", "is no JSON"), ("[" * 100_000, "is no JSON")])
def test_a_description_is_an_object(tmp_path, text, wrong):
    (tmp_path / "a.json").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=f"a.json {wrong}.*: make it anew"):
        read_description(tmp_path / "a.json", "make it anew")


def test_what_a_file_says_nothing_of_and_values_of_another_type(tmp_path):
    file = tmp_path / "a.json"
    file.write_text(json.dumps({"dim": 3, "names": ["a"], "half": True}), encoding="utf-8")
    description = read_description(file, "make it anew", dim=(int, float), names=(list,), other=(str,))
    assert description == {"dim": 3, "names": ["a"], "half": True} and description.get("other") is None
    with pytest.raises(ValueError, match="a.json says nothing of 'other': make it anew$"):
        description["other"]
    with pytest.raises(ValueError, match=r"a.json has names: \['a'\], not text or a whole number: make it anew$"):
        read_description(file, "make it anew", names=(str, int))
    with pytest.raises(ValueError, match="half: True, not a whole number"):
        read_description(file, "make it anew", half=(int,))


def test_tensors_and_what_is_noted_with_them(tmp_path):
    save_file({"w": torch.ones(2)}, tmp_path / "a.safetensors", {"found": "it"})
    tensors, notes = read_noted_tensors(tmp_path / "a.safetensors", "make it anew")
    assert tensors["w"].tolist() == [1, 1] and notes == {"found": "it"}
    with pytest.raises(ValueError, match="a.safetensors says nothing of 'b': make it anew"):
        tensors["b"]


@pytest.mark.parametrize("shape", [(2, 2), (3, 3)])
def test_weights_of_another_shape(shape):
    with pytest.raises(ValueError, match="w.safetensors does not fit: size mismatch for weight.*: make it anew"):
        load_weights(
            torch.nn.Linear(2, 3), {"weight": torch.ones(shape), "bias": torch.ones(3)}, "w.safetensors", "make it anew"
        )
