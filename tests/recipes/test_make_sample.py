import csv
import json
import re
from dataclasses import replace

import make_sample
from clipknight.data.datasets import read_dataset
from clipknight.sample import backgrounds as sample_backgrounds
from clipknight.sample import objects as sample_objects
from clipknight.sample import styles as sample_styles
from clipknight.sample.captions import COLOUR_WORDS, RELATION_WORDS, plural
from clipknight.sample.drawing import FRAMES, SIZE, draw, draw_frames
from clipknight.sample.pen import COLOURS
from clipknight.sample.scenes import draw_clips, draw_scenes
from clipknight.sample.world import BACKGROUNDS, MOTIONS, STYLES, THINGS

import av
import numpy as np
import pytest
from PIL import Image


def made(folder, *flags):
    make_sample.main(["--out", str(folder), "--images", "12", "--clips", "0", *flags])
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def scenes():
    return draw_scenes(500, seed=1)


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "sample"
    make_sample.main(["--out", str(folder), "--images", "20", "--clips", "6"])
    return folder


def test_same_seed_same_bytes(tmp_path):
    first, again, other = (made(tmp_path / name, "--seed", seed) for name, seed in (("a", "3"), ("b", "3"), ("c", "4")))
    assert first == again
    assert first.keys() == other.keys()
    assert all(first[name] != other[name] for name in first if name.endswith((".jpg", ".txt")))


def test_every_object_is_drawn_in_its_colour():
    assert sample_objects.DRAWINGS.keys() == THINGS.keys()
    for name, thing in THINGS.items():
        red, blue = (sample_objects.sprite(name, COLOURS[c], 64) for c in ("red", "blue"))
        covered = red[..., 3] > 128
        assert covered.sum() > 200, name
        assert (red[..., 0].astype(int) - blue[..., 0] > 40)[covered].mean() > 0.25, name
        assert set(thing.colours) <= COLOURS.keys(), name


def test_mirrored_object_is_turned_round():
    car = sample_objects.sprite("car", COLOURS["red"], 64)
    np.testing.assert_array_equal(sample_objects.sprite("car", COLOURS["red"], 64, mirrored=True), car[:, ::-1])
    lamp = np.argwhere(np.abs(car[..., :3] - np.array([255, 240, 170])).sum(2) < 60)[:, 1]
    assert lamp.min() > 0.8 * car.shape[1]  # its light shows where it faces


def test_every_background_is_drawn():
    assert sample_backgrounds.DRAWINGS.keys() == BACKGROUNDS.keys()
    pictures = {n: sample_backgrounds.background(n, np.random.default_rng(0), SIZE) for n in BACKGROUNDS}
    for name, picture in pictures.items():
        assert picture.shape == (SIZE, SIZE, 3), name
        assert picture.std() > 8, name
    assert len({p.tobytes() for p in pictures.values()}) == len(BACKGROUNDS)


def test_every_style_paints_and_keeps_its_word_on_colour(scenes):
    assert sample_styles.FILTERS.keys() == STYLES.keys()
    scene = next(s for s in scenes if s.background == "meadow" and s.groups[0].colour == "red")
    pictures = {name: draw(replace(scene, style=name), seed=0)[0] for name in STYLES}
    for name, picture in pictures.items():
        assert picture.shape == (SIZE, SIZE, 3), name
        assert picture.dtype == np.uint8, name
        assert picture.std() > 15, name
        hues = np.abs(picture.astype(int) - picture.mean((0, 1))) @ [1, -1, 0]
        assert (hues.std() > 12) == STYLES[name].coloured, name
    assert len({p.tobytes() for p in pictures.values()}) == len(STYLES)


def test_white_stays_white_in_every_coloured_style():
    white = np.full((64, 64, 3), 252, np.uint8)
    for name, style in STYLES.items():
        if style.coloured and name != "neon":
            painted = sample_styles.FILTERS[name](white, np.random.default_rng(0))
            assert np.median(painted) > 190, name


def test_captions_are_five_and_different(scenes):
    for described in (*scenes, *draw_clips(300, seed=1)):
        assert len(set(described.captions)) == len(described.captions) == 5
        assert all(c == " ".join(c.split()) for c in described.captions)


def mentions(scene, caption) -> list[int]:
    """The groups that a caption names, in its order; each in the number it has."""
    found = {}
    for i, group in enumerate(scene.groups):
        nouns = {n if group.count == 1 else plural(n) for n in THINGS[group.name].nouns}
        places = [m.start() for n in nouns for m in re.finditer(rf"(?<![\w-]){n}(?![\w-])", caption)]
        if places:
            found[i] = min(places)
    return sorted(found, key=found.get)


def test_captions_name_what_the_scene_holds(scenes):
    for scene in scenes:
        for caption in scene.captions:
            assert len(mentions(scene, caption)) == len(scene.groups), (scene, caption)


def test_captions_tell_the_relation_as_it_is(scenes):
    told = 0
    for scene in (s for s in scenes if s.relation):
        for caption in scene.captions:
            order = mentions(scene, caption)
            nouns = "|".join(n if g.count == 1 else plural(n) for g in scene.groups for n in THINGS[g.name].nouns)
            for relation, words in RELATION_WORDS.items():
                if re.search(rf"\b({nouns})( \w+)? ({'|'.join(words)}) .*\b({nouns})(?![\w-])", caption):
                    first = scene.relation == relation
                    assert order == ([0, 1] if first else [1, 0]), (scene.relation, caption)
                    told += 1
    assert told > 500


def test_captions_give_each_object_its_colour(scenes):
    owners = {word.split()[-1]: c for c in COLOURS for word in COLOUR_WORDS.get(c, (c,))}
    told = 0
    for scene in scenes:
        for caption in scene.captions:
            if not STYLES[scene.style].coloured:
                assert not set(re.findall(r"\w+", caption)) & COLOURS.keys() - {"white", "black", "blue"}, caption
            for group in scene.groups:
                for noun in THINGS[group.name].nouns:
                    before = re.search(rf"([\w-]+) {noun if group.count == 1 else plural(noun)}(?![\w-])", caption)
                    if before and before[1] in owners:
                        assert owners[before[1]] == group.colour, (scene, caption)
                        told += 1
    assert told > 1000


def test_objects_stand_as_their_relation_says(scenes):
    for scene in (s for s in scenes[:120] if s.relation):
        _, boxes = draw(replace(scene, style="illustration"), seed=0)
        a, b = (np.array([box for box, p in zip(boxes, scene.placed, strict=True) if p.group == i]) for i in range(2))
        (ax, ay), (bx, by) = (((g[:, 0] + g[:, 2]) / 2, (g[:, 1] + g[:, 3]) / 2) for g in (a, b))
        if scene.relation in ("left of", "right of"):
            assert (ax.max() < bx.min()) if scene.relation == "left of" else (bx.max() < ax.min()), scene
        elif scene.relation == "above":
            assert ay.max() < by.min(), scene
        else:
            assert scene.relation == "in front of"
            assert a[:, 3].min() > b[:, 3].max(), scene
            assert min(a[:, 2].max(), b[0, 2]) > max(a[:, 0].min(), b[0, 0]), scene


def test_every_object_is_in_the_picture(scenes):
    for scene in scenes[:60]:
        _, boxes = draw(replace(scene, style="illustration", weather=None), seed=0)
        assert len(boxes) == sum(g.count for g in scene.groups)
        for left, top, right, bottom in boxes:
            assert min(left, top) >= 0 and max(right, bottom) <= SIZE
            assert min(right - left, bottom - top) >= 8, scene


def test_no_two_scenes_hold_the_same(scenes):
    assert len({s.key for s in scenes}) == len(scenes)


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


@pytest.mark.parametrize("motion", MOTIONS)
def test_the_object_moves_as_told(motion):
    clip = next(c for c in draw_clips(120, seed=1) if c.motion == motion)
    frames = np.stack(list(draw_frames(replace(clip, style="illustration"), seed=0))).astype(int)
    moving = np.abs(frames - np.median(frames, 0)).sum(3) > 60
    ys, xs = zip(*(np.argwhere(m).mean(0) for m in moving[[2, 21]]), strict=True)
    shift = {"left to right": xs[1] - xs[0], "right to left": xs[0] - xs[1], "up": ys[0] - ys[1], "down": ys[1] - ys[0]}
    if motion in shift:
        assert shift[motion] > 60
    elif motion == "closer":
        early, late = (np.argwhere(np.abs(frames[i] - frames[0]).sum(2) > 60)[:, 1] for i in (4, -1))
        assert np.ptp(late) > 1.6 * np.ptp(early)
    else:
        assert abs(shift["down"]) < 20 and (np.abs(frames[6] - frames[0]).sum(2) > 60).any()


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


def test_a_failure_leaves_nothing(tmp_path, monkeypatch):
    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr(make_sample, "write_table", fail)
    with pytest.raises(OSError, match="disk full"):
        made(tmp_path / "sample")
    assert list(tmp_path.iterdir()) == []


def test_too_few_pictures_are_refused(tmp_path):
    with pytest.raises(SystemExit, match="at least 10 images"):
        made(tmp_path / "sample", "--images", "5")
