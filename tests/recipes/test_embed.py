"""Pictures in archives, encoded and predicted part by part: whole parts stay, whatever happens."""

import json
import tarfile

import embed
import predict
from clipknight.data.datasets import read_dataset
from clipknight.embedding import rows_in_parts
from clipknight.embedding.cache import image_embeddings
from clipknight.embedding.clip import load_clip
from clipknight.embedding.shards import ShardedEmbeddings
from clipknight.training.runs import Run

import numpy as np
import pytest


def write_tars(folder, coloured):
    """The pictures of the tiny dataset, a tar for each of its splits."""
    folder.mkdir()
    for split in ("train", "valid", "test"):
        with tarfile.open(folder / f"{split}.tar", "w") as archive:
            for file in sorted((coloured / "Images").glob(f"{'dev' if split == 'valid' else split}*.png")):
                archive.add(file, file.name)
    return folder


@pytest.fixture
def tars(tmp_path, coloured):
    return write_tars(tmp_path / "tars", coloured)


def argv(tiny_clip, images, out, *more):
    named = {"images": images, "out": out, "encoder": tiny_clip, "batch_size": 4, "device": "cpu", "workers": 0}
    return [*(f"--{name}={value}" for name, value in named.items()), "--precision=fp32", *more]


@pytest.fixture
def expected(tiny_clip, coloured, tmp_path):
    """Rows of the whole dataset, by the picture's name."""
    rows = image_embeddings(
        load_clip(str(tiny_clip), "cpu", "fp32"), read_dataset(coloured), tmp_path / "whole", batch_size=4, workers=0
    )
    return dict(zip(rows.ids, rows.vectors))


def stop_after(monkeypatch, count):
    """Let no more than so many parts be written."""
    add = rows_in_parts.ShardWriter.add

    def counted(writer, *args):
        if len(writer.finished) == count:
            raise KeyboardInterrupt
        add(writer, *args)

    monkeypatch.setattr(rows_in_parts.ShardWriter, "add", counted)


def test_archives_are_encoded_in_parts_after_a_kill_too(tars, tiny_clip, expected, tmp_path, monkeypatch, capsys):
    out = tmp_path / "rows"
    with monkeypatch.context() as patched:
        stop_after(patched, 2)
        with pytest.raises(SystemExit):
            embed.main(argv(tiny_clip, tars, out))
    first = {path.name: path.stat().st_mtime_ns for path in (out / "parts").iterdir()}
    assert sorted(first) == ["00000-test", "00001-train"]
    embed.main(argv(tiny_clip, tars, out))
    assert {name: (out / "parts" / name).stat().st_mtime_ns for name in first} == first
    assert "38 images in 3 parts, " in capsys.readouterr().out
    rows = ShardedEmbeddings.open(out, load_clip(str(tiny_clip), "cpu", "fp32").fingerprint("visual"))
    assert len(rows) == 38 and rows.meta["encoder"] == str(tiny_clip)
    for ids, vectors in rows.parts():
        np.testing.assert_allclose(vectors, [expected[i.partition("/")[2]] for i in ids], atol=1e-6)


def test_finished_rows_and_other_folders_stay(tars, tiny_clip, tmp_path):
    embed.main(argv(tiny_clip, tars / "test.tar", tmp_path / "rows"))
    with pytest.raises(SystemExit, match="rows exists: pass --overwrite"):
        embed.main(argv(tiny_clip, tars, tmp_path / "rows"))
    embed.main(argv(tiny_clip, tars, tmp_path / "rows", "--overwrite"))
    assert len(ShardedEmbeddings.open(tmp_path / "rows")) == 38
    with pytest.raises(SystemExit, match="tars would replace|no folder of rows in parts"):
        embed.main(argv(tiny_clip, tars / "test.tar", tars))


def test_parts_of_other_pictures_are_not_gone_on_with(tars, tiny_clip, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        stop_after(patched, 1)
        with pytest.raises(SystemExit):
            embed.main(argv(tiny_clip, tars, tmp_path / "rows"))
    (tars / "train.tar").unlink()
    with pytest.raises(SystemExit, match="begun with other settings: delete .*rows to begin anew"):
        embed.main(argv(tiny_clip, tars, tmp_path / "rows"))


def test_unreadable_pictures_are_named_or_counted_by_part(tars, tiny_clip, tmp_path, capsys):
    (tmp_path / "torn.png").write_bytes(b"")
    with tarfile.open(tars / "test.tar", "a") as archive:
        archive.add(tmp_path / "torn.png", "torn.png")
    with tarfile.open(tars / "none.tar", "w") as archive:
        archive.add(tmp_path / "torn.png", "torn.png")
    with pytest.raises(SystemExit, match="1 unreadable images: .*torn.png: the file is empty"):
        embed.main(argv(tiny_clip, tars, tmp_path / "rows"))
    embed.main(argv(tiny_clip, tars, tmp_path / "rows", "--skip_unreadable"))
    assert "38 images in 3 parts, 2 unreadable ones skipped" in capsys.readouterr().out
    part = json.loads((tmp_path / "rows" / "parts" / "00001-test" / "part.json").read_text(encoding="utf-8"))
    assert part["left_out"] == {"test/torn": "the file is empty"}
    assert ShardedEmbeddings.open(tmp_path / "rows").left_out == 2


def test_a_runs_predictions_of_archives(tars, image_run, tmp_path):
    words = [f"--run={image_run}", f"--images={tars}", f"--out={tmp_path / 'rows'}", "--device=cpu", "--workers=0"]
    predict.main(words)
    rows, run = ShardedEmbeddings.open(tmp_path / "rows"), Run.open(image_run)
    assert rows.meta["run"] == image_run
    saved = run.predictions("test")
    found = rows.aligned_to([f"test/{i}" for i in saved.ids])
    np.testing.assert_allclose(found.vectors, saved.vectors, atol=1e-5)
    with pytest.raises(SystemExit, match="--csv takes the predictions of a folder"):
        predict.main([*words, f"--csv={tmp_path / 'rows.csv'}"])


@pytest.mark.parametrize("words", [[], ["--data=a", "--images=b", "--out=c"], ["--out=c"], ["--images=b"]])
def test_what_to_encode_is_said_once(words):
    with pytest.raises(SystemExit, match="say what to encode"):
        embed.main(words)
