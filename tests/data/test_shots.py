"""Clips cut into shots: by the clock, or where the picture changes; each shot's frames are its own."""

from clipknight.data.left_out import UnreadableMedia
from clipknight.data.shots import scene_changes, shots_by_path, shots_of
from clipknight.data.video_decoding import evenly_spaced_frames
from clipknight.data.videos import frame_files

import clips
import pytest
from PIL import Image


def numbers(path, count, shots) -> list[int]:
    return [clips.number_of(frame) for frame in evenly_spaced_frames(str(path), count, shots)]


def grey_gif(path, frames=8, milliseconds=500):
    pictures = [Image.fromarray(clips.picture(number)) for number in range(frames)]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=milliseconds)
    return path


@pytest.mark.parametrize("name, codec", [("clip.mp4", "libx264"), ("clip.avi", "mpeg4")])
def test_shots_by_the_clock_end_with_the_clip_and_show_their_own_frames(tmp_path, name, codec):
    path = str(clips.write_video(tmp_path / name, codec))  # 40 frames, 10 a second
    shots = shots_of(path, "1.5s")
    assert [start for start, _ in shots] == [0, 1.5, 3.0]
    assert [end for _, end in shots] == pytest.approx([1.5, 3.0, 4.0], abs=0.11)
    assert numbers(path, 1, shots) == [7, 22, 35]
    assert numbers(path, 2, shots) == [3, 11, 18, 26, 32, 37]


def test_scenes_change_where_the_picture_jumps_and_no_shot_is_shorter_than_a_second(tmp_path):
    path = str(clips.write_video(tmp_path / "clip.mp4", frames=85))  # greys rise, and begin again at frames 40 and 80
    assert scene_changes(path) == [4.0, 8.0]
    assert shots_of(path, "scenes") == [(0, 4), (4, 8.5)]


def test_an_animation_is_cut_by_how_long_its_frames_stay(tmp_path):
    path = str(grey_gif(tmp_path / "grey.gif"))
    shots = shots_of(path, "2s")
    assert shots == [(0, 2), (2, 4)]
    assert numbers(path, 2, shots) == [1, 3, 5, 7]


def test_a_shot_in_which_no_frame_begins_shows_the_one_before(tmp_path):
    path = str(grey_gif(tmp_path / "slow.gif", frames=2, milliseconds=3000))
    assert numbers(path, 1, shots_of(path, "1s")) == [0, 0, 0, 1, 1, 1]


def test_frames_of_shots_are_kept_apart_from_those_of_the_whole_clip(tmp_path):
    path = str(clips.write_video(tmp_path / "clip.mp4"))
    whole = frame_files([path], 2, tmp_path / "cache")[path]
    cut = frame_files([path], 2, tmp_path / "cache", shots={path: shots_of(path, "2s")})[path]
    assert len(whole) == 2 and len(cut) == 4 and not {*whole} & {*cut}
    assert [clips.number_of(Image.open(file)) for file in cut] == [5, 15, 25, 35]


def test_what_cannot_be_read_is_named_or_left_out(tmp_path):
    good = str(clips.write_video(tmp_path / "clip.mp4"))
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    paths = [good, str(tmp_path / "bad.mp4")]
    with pytest.raises(UnreadableMedia, match="1 unreadable videos: .*bad.mp4"):
        shots_by_path(paths, "2s")
    assert list(shots_by_path(paths, "2s", skip_unreadable=True)) == [good]
