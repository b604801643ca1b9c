import csv
import json

import make_sample
from clipknight.data.datasets import read_dataset
from clipknight.ensemble.submission_rows import sample_ids
from clipknight.sample.drawing import FRAMES, SIZE
from clipknight.sample.scenes import draw_scenes

import av
import joblib
import numpy as np
import pytest
from PIL import Image


def made(folder, *flags):
    make_sample.main(["--out", str(folder), "--images", "12", "--clips", "0", *flags])
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "sample"
    with joblib.parallel_config("loky"):  # several processes, as for users
        make_sample.main(["--out", str(folder), "--images", "20", "--clips", "6"])
    return folder


def test_same_seed_same_bytes(tmp_path):
    first, again, other = (made(tmp_path / name, "--seed", seed) for name, seed in (("a", "3"), ("b", "3"), ("c", "4")))
    assert first == again
    assert first.keys() == other.keys()
    assert all(first[name] != other[name] for name in first if name.endswith((".jpg", ".txt")))


def test_splits_cover_the_sample_once(sample):
    listed = {n: (sample / f).read_text(encoding="utf-8").split() for n, f in make_sample.SPLIT_LISTS.items()}
    assert {name: len(files) for name, files in listed.items()} == {"train": 16, "valid": 2, "test": 2}
    assert sorted(file for files in listed.values() for file in files) == sorted(
        p.name for p in (sample / "Images").iterdir()
    )
    records = json.loads((sample / "scenes.json").read_text(encoding="utf-8"))
    assert {r["file"]: r["split"] for r in records} == {f: name for name, files in listed.items() for f in files}


def test_sample_reads_as_flickr8k_and_its_clips_as_videos(sample):
    images, clips = read_dataset(sample), read_dataset(sample / "clips")
    assert (images.layout, len(images.images), len(images.captions)) == ("flickr", 20, 100)
    assert images.images["split"].value_counts().to_dict() == {"train": 16, "valid": 2, "test": 2}
    assert (clips.layout, len(clips.images), len(clips.captions)) == ("video", 6, 30)
    with open(sample / "captions.txt", newline="", encoding="utf-8") as handle:
        assert [row["caption"] for row in csv.DictReader(handle)][:5] == list(draw_scenes(1, 0)[0].captions)


def test_clips_decode_to_all_their_frames(sample):
    files = sorted(p for p in (sample / "clips").iterdir() if p.suffix != ".csv")
    assert [p.suffix for p in files] == [".mp4"] * 5 + [".gif"]
    for file in (files[0], files[-1]):
        with av.open(str(file)) as container:
            frames = [f.to_ndarray(format="rgb24").astype(int) for f in container.decode(video=0)]
        assert len(frames) == FRAMES
        assert frames[0].shape == (SIZE, SIZE, 3)
        assert np.abs(frames[0] - frames[FRAMES // 2]).max() > 60
    assert Image.open(files[-1]).n_frames == FRAMES


def test_made_once_and_replaced_only_when_asked(tmp_path, capsys):
    folder = tmp_path / "sample"
    first = made(folder)
    assert "synthetic sample: 12 pictures" in capsys.readouterr().out
    stamp = (folder / "sample.json").stat().st_mtime_ns
    assert made(folder) == first
    assert "there already" in capsys.readouterr().out
    assert (folder / "sample.json").stat().st_mtime_ns == stamp
    with pytest.raises(SystemExit, match="--overwrite"):
        made(folder, "--seed", "1")
    assert made(folder, "--seed", "1", "--overwrite") != first


def test_a_folder_of_something_else_is_never_replaced(tmp_path):
    (tmp_path / "photographs.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(SystemExit, match="no sample"):
        made(tmp_path, "--overwrite")
    assert (tmp_path / "photographs.txt").read_text(encoding="utf-8") == "mine"


def test_a_sample_with_files_of_others_is_not_replaced(tmp_path):
    made(tmp_path / "sample")
    (tmp_path / "sample" / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(SystemExit, match="holds more than a sample, notes.txt: move it, or choose another --out"):
        made(tmp_path / "sample", "--seed", "1", "--overwrite")
    assert (tmp_path / "sample" / "notes.txt").read_text(encoding="utf-8") == "mine"
    (tmp_path / "sample" / "sample.json").write_text("[]", encoding="utf-8")
    with pytest.raises(SystemExit, match="sample.json holds a list, .*: choose another --out"):
        made(tmp_path / "sample", "--overwrite")


def test_a_failure_leaves_nothing(tmp_path, monkeypatch):
    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr(make_sample, "write_table", fail)
    with pytest.raises(SystemExit, match="disk full"):
        made(tmp_path / "sample")
    assert list(tmp_path.iterdir()) == []


def test_too_few_pictures_are_refused(tmp_path):
    with pytest.raises(SystemExit, match="at least 10 images"):
        made(tmp_path / "sample", "--images", "5")


def test_the_sample_as_the_competition_gives_its_pictures(tmp_path):
    out, folder = tmp_path / "sample", tmp_path / "competition"
    made(out, "--competition", str(folder))
    data = read_dataset(folder)
    assert (data.layout, len(data), len(data.captions)) == ("competition", 12, 11)
    assert data.images["split"].value_counts().to_dict() == {"": 11, "test": 1}
    assert sample_ids(data.sample_submission).tolist() == data.split("test").ids.tolist()
    drawn = read_dataset(out).caption_lists()
    assert all(prompt in drawn[id] for id, (prompt,) in data.caption_lists().items())
    assert Image.open(data.images["path"][0]).format == "PNG"
    stamp = (folder / "sample.json").stat().st_mtime_ns
    made(out, "--competition", str(folder))
    assert (folder / "sample.json").stat().st_mtime_ns == stamp
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "photographs.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(SystemExit, match="no sample"):
        made(out, "--competition", str(tmp_path / "mine"))
