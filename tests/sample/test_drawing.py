"""The drawings of the sample: things, places, styles, and where a scene's objects are."""

from dataclasses import replace

from clipknight.sample import backgrounds, objects, styles
from clipknight.sample.drawing import SIZE, draw, draw_frames
from clipknight.sample.pen import COLOURS
from clipknight.sample.scenes import draw_clips
from clipknight.sample.world import BACKGROUNDS, FEET, HIDDEN, MOTIONS, STYLES, THINGS

import numpy as np
import pytest


def test_every_object_is_drawn_in_its_colour():
    assert objects.DRAWINGS.keys() == THINGS.keys()
    for name, thing in THINGS.items():
        red, blue = (objects.sprite(name, COLOURS[c], 64) for c in ("red", "blue"))
        covered = red[..., 3] > 128
        assert covered.sum() > 200, name
        assert (red[..., 0].astype(int) - blue[..., 0] > 40)[covered].mean() > 0.25, name
        assert set(thing.colours) <= COLOURS.keys() and set(thing.spots) <= FEET.keys(), name


def test_mirrored_object_is_turned_round():
    car = objects.sprite("car", COLOURS["red"], 64)
    np.testing.assert_array_equal(objects.sprite("car", COLOURS["red"], 64, mirrored=True), car[:, ::-1])
    lamp = np.argwhere(np.abs(car[..., :3] - np.array([255, 240, 170])).sum(2) < 60)[:, 1]
    assert lamp.min() > 0.8 * car.shape[1]  # its light shows where it faces


def test_every_place_is_another():
    assert backgrounds.DRAWINGS.keys() == BACKGROUNDS.keys() >= HIDDEN.keys()
    pictures = [backgrounds.background(name, np.random.default_rng(0), SIZE).astype(int) for name in BACKGROUNDS]
    for i, picture in enumerate(pictures):
        assert picture.shape == (SIZE, SIZE, 3) and picture.std() > 8
        assert all(np.abs(picture - other).mean() > 12 for other in pictures[:i])


def test_every_style_paints_and_keeps_its_word_on_colour(scenes):
    assert styles.FILTERS.keys() == STYLES.keys()
    scene = next(s for s in scenes if s.background == "meadow" and s.groups[0].colour == "red")
    pictures = {name: draw(replace(scene, style=name), seed=0)[0] for name in STYLES}
    for name, picture in pictures.items():
        assert picture.shape == (SIZE, SIZE, 3) and picture.dtype == np.uint8 and picture.std() > 15, name
        hues = np.abs(picture.astype(int) - picture.mean((0, 1))) @ [1, -1, 0]
        assert (hues.std() > 12) == STYLES[name].coloured, name
    assert len({p.tobytes() for p in pictures.values()}) == len(STYLES)


def test_white_stays_white_in_every_coloured_style():
    white = np.full((64, 64, 3), 252, np.uint8)
    for name in (name for name, style in STYLES.items() if style.coloured):
        assert np.median(styles.FILTERS[name](white, np.random.default_rng(0))) > 190, name


def test_objects_are_in_the_picture_and_stand_as_their_relation_says(scenes):
    for scene in scenes[:30]:
        _, boxes = draw(replace(scene, style="illustration"), seed=0)
        assert len(boxes) == sum(g.count for g in scene.groups)
        for left, top, right, bottom in boxes:
            assert min(right - left, bottom - top) >= 8, scene
        for placed in scene.placed:
            assert 0 <= placed.x - placed.side / 2 and placed.x + placed.side / 2 <= 1, scene
            assert 0 <= placed.y - placed.side and placed.y <= 1, scene
        if scene.relation:
            parts = [[b for b, p in zip(boxes, scene.placed, strict=True) if p.group is g] for g in scene.groups]
            (ax, ay), (bx, by) = (np.array([(x0 + x1, y0 + y1) for x0, y0, x1, y1 in part]).T / 2 for part in parts)
            in_order = {"left of": ax.max() < bx.min(), "right of": bx.max() < ax.min(), "above": ay.max() < by.min()}
            assert in_order[scene.relation], scene


@pytest.mark.parametrize("motion", MOTIONS)
def test_the_object_moves_as_told(motion):
    clip = next(c for c in draw_clips(60, seed=1) if c.motion == motion)
    frames = np.stack(list(draw_frames(replace(clip, style="illustration"), seed=0))).astype(int)
    moving = np.abs(frames - np.median(frames, 0)).sum(3) > 60
    (y0, x0), (y1, x1) = (np.argwhere(moving[i]).mean(0) for i in (2, 21))
    if motion == "bounce":
        assert abs(y1 - y0) < 20 and (np.abs(frames[6] - frames[0]).sum(2) > 60).any()
    else:
        assert {"left to right": x1 - x0, "right to left": x0 - x1, "up": y0 - y1, "down": y1 - y0}[motion] > 60
