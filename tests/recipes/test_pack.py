"""A pack does what its run does, from anywhere, without outputs/, and says which of its files is damaged."""

import json
import shutil
from pathlib import Path

import blend
import caption
import pack
import predict
import recognise
import refine
import train_a
import train_b
from clipknight import load
from clipknight.embedding.embeddings import Embeddings
from clipknight.packs import check_pack
from clipknight.training.runs import Run

import numpy as np
import pytest
import torch
from safetensors.torch import load_file


@pytest.fixture(scope="module")
def ensemble(coloured, tiny_clip, colour_encoder, image_run, tmp_path_factory) -> Run:
    """Of every kind of member: Model A, a Model B on its tower and one on the encoder, and those without images."""
    shared = {"data": coloured, "target_encoder": colour_encoder, "device": "cpu"}
    options = {**shared, "precision": "fp32", "workers": 0}

    def words(**named):
        return [f"--{name}={value}" for name, value in named.items()]

    train_a.main(words(**options, encoder=tiny_clip, run="packing/a", epochs=0, head_epochs=5))
    tower = Run.open("packing/a").folder
    train_b.main(words(**options, encoder=tower, run="packing/b", n_neighbors=3, index="hnsw"))
    refine.main(words(**shared, **{"from": "packing/a"}, run="packing/refined", n_neighbors=5))
    vocabulary = tmp_path_factory.mktemp("words") / "colours.txt"
    vocabulary.write_text("red\ngreen\nblue\n", encoding="utf-8")
    recognise.main(words(**options, encoder=tiny_clip, vocabulary=vocabulary, run="packing/concepts"))
    members = ["packing/a", "packing/b", image_run, "packing/refined", "packing/concepts"]
    blend.main([*words(**shared, run="packing/ensemble", folds=2), "--members", *members])
    return Run.open("packing/ensemble")


@pytest.fixture(scope="module")
def packed(ensemble, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("packs") / "ensemble"
    assert pack.main([f"--run={ensemble.name}", f"--out={out}", "--device=cpu"]) == out
    return out


@pytest.fixture(scope="module")
def packed_knight(knight_run, ensemble, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("packs") / "knight"
    pack.main([f"--run={knight_run}", f"--from={ensemble.name}", f"--out={out}", "--device=cpu"])
    return out


@pytest.fixture
def elsewhere(monkeypatch, tmp_path) -> Path:
    """A machine on which nothing of the project has been made, and where caches have a place of their own."""
    monkeypatch.setenv("CLIPKNIGHT_OUTPUTS", str(tmp_path / "none"))
    monkeypatch.setenv("CLIPKNIGHT_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def state(folder: Path) -> dict:
    return {str(f.relative_to(folder)): (f.stat().st_mtime_ns, f.stat().st_size) for f in folder.rglob("*")}


def predicted(run, images, out) -> Embeddings:
    words = {"run": run, "images": images, "out": out, "device": "cpu", "workers": 0}
    return Embeddings.load(predict.main([f"--{name}={value}" for name, value in words.items()]))


def captioned(run, images, out, *more) -> list[str]:
    return caption.main([str(images), f"--run={run}", f"--out={out}", "--html=none", "--device=cpu", *more])[
        "caption"
    ].tolist()


@pytest.mark.slow
def test_the_library_loads_a_pack(packed, packed_knight, elsewhere, coloured):
    images = coloured / "Images"
    rows, others = load(packed, device="cpu").predict(images), predicted(packed, images, elsewhere / "rows")
    np.testing.assert_array_equal(rows.vectors, others.vectors)
    why = load(packed_knight, device="cpu").explain(images / "dev00.png")
    assert len(why.members) == 5 and set(why.concepts["concept"]) == {"red", "green", "blue"}


def test_it_predicts_bit_for_bit_what_the_run_does(packed, ensemble, coloured, elsewhere, monkeypatch):
    with monkeypatch.context() as at_home:
        at_home.delenv("CLIPKNIGHT_CACHE")
        at_home.setenv("CLIPKNIGHT_OUTPUTS", str(ensemble.folder.parents[1]))
        own = predicted(ensemble.name, coloured / "Images", elsewhere / "own")
    moved = shutil.copytree(packed, elsewhere / "read@only" / "pack")
    before = state(moved)
    again = predicted(moved, coloured / "Images", elsewhere / "again")
    np.testing.assert_array_equal(again.aligned_to(own.ids).vectors, own.vectors)
    assert len(own) == 38 and state(moved) == before and not (elsewhere / "none").exists()


def test_it_holds_no_pickles_and_names_nothing_of_this_machine(packed, coloured, tiny_clip, colour_encoder):
    kinds = {path.suffix for path in packed.rglob("*") if path.is_file()}
    assert all(path.stat().st_mode & 0o044 for path in packed.rglob("*"))  # others may read it
    assert kinds <= {".json", ".yaml", ".safetensors", ".faiss", ".md", ".txt"}
    for file in [*packed.rglob("*.json"), *packed.rglob("*.yaml")]:
        text = file.read_text(encoding="utf-8")
        assert not any(str(path) in text for path in (coloured, tiny_clip, colour_encoder)), file


def test_a_knight_captions_as_the_run_does(packed_knight, knight_run, ensemble, coloured, elsewhere, monkeypatch):
    with monkeypatch.context() as at_home:
        at_home.delenv("CLIPKNIGHT_CACHE")
        at_home.setenv("CLIPKNIGHT_OUTPUTS", str(ensemble.folder.parents[1]))
        own = captioned(knight_run, coloured / "Images", elsewhere / "own.csv", f"--from={ensemble.name}")
    moved = shutil.copytree(packed_knight, elsewhere / "knight")
    assert Run.open(moved).settings["vocabulary"] == 300  # a number here, in other runs a file
    before = state(moved)
    assert captioned(moved, coloured / "Images", elsewhere / "again.csv") == own and len(set(own)) > 2
    again = captioned(moved, coloured / "Images", elsewhere / "again.csv", "--rerank=3", "--rerank_by=embedding")
    assert len(again) == 38 and state(moved) == before and not (elsewhere / "none").exists()


@pytest.mark.slow
def test_in_16_bits_nearly_the_same(ensemble, colour_encoder, tmp_path, capsys):
    out = pack.main([f"--run={ensemble.name}", f"--out={tmp_path / 'half'}", "--half", "--device=cpu"])
    manifest = check_pack(out, every_byte=True)
    assert manifest["bits"] == 16 and 0.9999 <= manifest["agreement"]["cosine"] and not manifest["agreement"]["equal"]
    packed = [file for file in out.rglob("*.safetensors") if colour_encoder.name not in file.parts]
    weights = [tensor for file in packed for tensor in load_file(file).values()]
    assert weights and not any(tensor.dtype == torch.float32 and tensor.ndim > 1 for tensor in weights)
    assert "16 drawn pictures: cosine" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["run.json", "runs/a/best/head.safetensors", "runs/b/best/knn.safetensors"])
def test_a_damaged_file_is_named_with_what_to_do(packed, elsewhere, name, capsys):
    moved = shutil.copytree(packed, elsewhere / "pack")
    whole = (moved / name).read_bytes()
    (moved / name).write_bytes(whole[:-7])
    with pytest.raises(ValueError, match=f"{name} has .* bytes, not .*: the pack is damaged: copy or download"):
        Run.open(moved)
    (moved / name).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(SystemExit, match=f"{name} is not as it was packed"):
        pack.main([f"--check={moved}"])
    (moved / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"{name} is not there: the pack is damaged"):
        Run.open(moved)


def test_a_whole_pack_is_told_so(packed, capsys):
    pack.main([f"--check={packed}"])
    assert "files, all as they were packed from the run packing/ensemble" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="is no pack"):
        pack.main([f"--check={packed / 'runs'}"])


@pytest.mark.slow
def test_a_pack_is_packed_again(packed, tmp_path):
    out = pack.main([f"--run={packed}", f"--out={tmp_path / 'again'}", "--device=cpu"])
    files = [json.loads((folder / "pack.json").read_text(encoding="utf-8"))["files"] for folder in (packed, out)]
    assert {n for n in files[0] if n.endswith(".safetensors")} == {n for n in files[1] if n.endswith(".safetensors")}


def test_what_is_in_the_way_stays(packed, ensemble, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear", encoding="utf-8")
    for out, words in (
        (tmp_path / "mine", "is no pack"),
        (packed, "pass --overwrite"),
        (ensemble.folder, "is no pack"),
    ):
        with pytest.raises(SystemExit, match=words):
            pack.main([f"--run={ensemble.name}", f"--out={out}"])
    with pytest.raises(SystemExit, match="lies in the pack"):
        train_b.main(["--data=x", f"--run={packed / 'runs' / 'b'}", "--overwrite"])
    with pytest.raises(SystemExit, match="lies in a pack, which stays as it is: .*--out FOLDER"):
        predict.main([f"--run={packed}", "--split=test", "--data=x"])
    with pytest.raises(SystemExit, match="say what to pack"):
        pack.main([])


def test_rows_of_any_length_are_compared_by_their_direction(ensemble, tmp_path):
    """Those of a run that recognises concepts are shorter than 1."""
    pack.main(["--run=packing/concepts", f"--out={tmp_path / 'concepts'}", "--half", "--device=cpu"])
    assert json.loads((tmp_path / "concepts" / "pack.json").read_text(encoding="utf-8"))["agreement"]["cosine"] > 0.9999


def test_captions_that_serve_twice_are_stored_once(knight_run, ensemble, tmp_path):
    """Knight retrieves from what its images' predictions are refined among. Packing compares captions and rows."""
    out = tmp_path / "knight"
    pack.main([f"--run={knight_run}", "--from=packing/refined", f"--out={out}", "--device=cpu"])
    best = {file.name for file in (out / "runs" / "refined" / "best").iterdir()}
    assert best == {"params.json", "knn.json", "shift.safetensors"}
    assert (out / "corpus" / "vectors.safetensors").is_file()
