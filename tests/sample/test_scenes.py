from clipknight.sample.scenes import draw_clips, draw_scenes


def test_no_two_scenes_hold_the_same(scenes):
    assert len({scene.key for scene in scenes}) == len(scenes) == 300
    assert len({clip.key for clip in draw_clips(500, seed=1)}) == 500  # the most that make_sample.py offers


def test_drawn_by_seed(scenes):
    assert draw_scenes(20, seed=1) == scenes[:20]
    assert draw_scenes(20, seed=2) != scenes[:20]
