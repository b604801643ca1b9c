"""From uploads to captions, a few at a time: what cannot be read costs a line, not the rest."""

from pathlib import Path
from types import SimpleNamespace

from clipknight.data.shots import shots_of
from clipknight.data.videos import is_video
from clipknight.embedding.embeddings import Embeddings
from clipknight.page.captioning import BATCH, Choices, Results, captioned
from clipknight.page.downloads import written
from clipknight.page.limits import Limits
from clipknight.page.uploads import Received

import clips
import numpy as np
import pandas as pd
import pytest
from PIL import Image


class NamesFiles:
    """A model that captions a file by its name, and remembers what it was asked."""

    source = SimpleNamespace(run="a run")

    def __init__(self):
        self.asked = []

    def caption(self, paths, progress, every, **options):
        self.asked.append((len(paths), options | {"every": every}))
        shots = [(path, shots_of(path, every) if every and is_video(path) else [None]) for path in paths]
        texts = [f"it is {Path(path).stem} {number}" for path, cut in shots for number, _ in enumerate(cut)]
        return pd.DataFrame({"image": texts, "caption": texts})

    def predict(self, paths, progress):
        return Embeddings(paths, np.eye(3, dtype=np.float32)[: len(paths)])


@pytest.fixture
def files(tmp_path) -> dict[str, str]:
    Image.new("RGB", (1200, 900), "red").save(tmp_path / "red.png")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff and no more")
    clips.write_video(tmp_path / "clip.mp4")
    return {name: str(tmp_path / name) for name in ("red.png", "broken.jpg", "clip.mp4")}


def all_of(model, files, folder, choices=Choices(), limits=Limits()) -> Results:
    results = Results(folder, total=len(files))
    for _ in captioned(model, Received(files), choices, results, limits):
        pass
    return results


def test_pictures_and_clips_are_captioned_and_shown_and_a_broken_one_is_named(files, tmp_path):
    model = NamesFiles()
    results = all_of(model, files, tmp_path, Choices(num_beams=2, rerank=3, frames=4))
    assert [(item.name, item.caption) for item in results.items] == [
        ("red.png", "it is red 0"),
        ("clip.mp4", "it is clip 0"),
    ]
    assert len(results.refused) == 1 and results.refused[0].startswith("broken.jpg: ")
    assert model.asked == [(2, {"num_beams": 2, "rerank": 3, "frames": 4, "every": ""})]
    picture, clip = results.items
    assert Image.open(picture.shown).size == (640, 480) and picture.explained == files["red.png"]
    assert len(clip.pictures) == 4 and clip.explained == clip.pictures[2]
    assert list(results.predictions.ids) == ["red.png"]


def test_a_clip_is_captioned_shot_by_shot_with_subtitles_of_its_own(files, tmp_path):
    clip = {"clip.mp4": files["clip.mp4"]}  # four seconds
    results = all_of(NamesFiles(), clip, tmp_path, Choices(frames=2, every="2s"))
    assert [(item.name, item.caption) for item in results.items] == [
        ("clip.mp4#t=0,2", "it is clip 0"),
        ("clip.mp4#t=2,4", "it is clip 1"),
    ]
    assert [clips.number_of(Image.open(file)) for item in results.items for file in item.pictures] == [5, 15, 25, 35]
    paths = written(results, tmp_path)
    assert "00:00:02,000 --> 00:00:04,000\nit is clip 1" in Path(paths["SRT"]).read_text(encoding="utf-8")
    assert set(paths) == {"CSV", "JSON", "SRT", "VTT"} and results.done == 1
    few = all_of(NamesFiles(), clip, tmp_path, Choices(every="2s"), Limits(shots=1))
    assert few.refused == ["clip.mp4: 2 shots are more than 1: give a shorter clip"]


def test_files_come_in_batches_and_time_ends(files, tmp_path):
    many, model = {f"{number}.png": files["red.png"] for number in range(BATCH + 1)}, NamesFiles()
    results = Results(tmp_path, total=len(many))
    steps = captioned(model, Received(many), Choices(), results, Limits(seconds=-1))
    assert list(steps) == []
    assert results.refused == [
        f"Stopped after -1 seconds, {BATCH + 1} files before the end: give fewer at once.",
    ]


def test_an_animation_that_takes_too_long_to_draw_is_refused(tmp_path):
    frames = [Image.new("RGB", (30, 30), (level, 0, 0)) for level in range(0, 200, 20)]
    frames[0].save(tmp_path / "long.gif", save_all=True, append_images=frames[1:])
    results = all_of(NamesFiles(), {"long.gif": str(tmp_path / "long.gif")}, tmp_path, limits=Limits(animation=8999))
    assert results.refused == ["long.gif: 9,000 pixels in all its frames are more than 8,999"]


def test_downloads_hold_captions_and_a_submission_whose_names_differ(tmp_path):
    (tmp_path / "more").mkdir()
    files = {}
    for name in ("a.png", "a.jpg", "more/b.png"):
        Image.new("RGB", (9, 9)).save(tmp_path / name)
        files[name] = str(tmp_path / name)
    paths = written(all_of(NamesFiles(), files, tmp_path), tmp_path)
    assert pd.read_csv(paths["CSV"])["caption"].tolist() == ["it is a 0", "it is a 0", "it is b 0"]
    ids = pd.read_csv(paths["submission"])["imgId_eId"].str.rpartition("_")[0]
    assert list(dict.fromkeys(ids)) == ["a.jpg", "a.png", "more/b"]
    assert written(Results(tmp_path), tmp_path) == {}
