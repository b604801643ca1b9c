import os
import pickle
import re
import struct
from fractions import Fraction
from pathlib import Path

from clipknight.data import video_decoding, video_timeline
from clipknight.data.images import read_image
from clipknight.data.left_out import UnreadableMedia
from clipknight.data.videos import UnreadableVideo, frame_files, is_video, read_frames

import av
import numpy as np
import pytest
from clips import SIZE, add_tone, cut, number_of, write_animation, write_sound, write_tone, write_video
from PIL import Image

MIDDLES = [2, 7, 12, 17, 22, 27, 32, 37]  # of eight parts of 40 frames
KINDS = {
    "a.mp4": {},
    "first.mp4": {"movflags": "faststart"},
    "parts.mp4": {"movflags": "frag_keyframe+empty_moov"},
    "a.mov": {"codec": "mpeg4"},
    "a.avi": {},
    "mpeg4.avi": {"codec": "mpeg4"},
    "a.webm": {"codec": "libvpx-vp9"},
    "vp8.webm": {"codec": "libvpx"},
    "a.mkv": {},
    "a.wmv": {"codec": "wmv2"},
    "a.flv": {"codec": "flv1"},
    "a.mpg": {"codec": "mpeg1video", "rate": 25},
    "a.gif": None,
    "a.webp": None,
}


def write(path, kind=None):
    options = KINDS[kind or path.name]
    return write_animation(path) if options is None else write_video(path, **options)


def numbers(path, count=8):
    return [number_of(frame) for frame in read_frames(path, count)]


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_gives_the_middles_of_equal_parts_in_order(tmp_path, name):
    path = write(tmp_path / name)
    assert is_video(path)
    frames = read_frames(path, 8)
    assert all(frame.mode == "RGB" and frame.size == SIZE for frame in frames)
    assert [number_of(frame) for frame in frames] == MIDDLES
    assert numbers(path, 1) == [20]
    assert numbers(str(path), 40) == list(range(40))


@pytest.mark.parametrize("name", ["a.mp4", "mpeg4.avi", "a.gif"])
def test_a_clip_of_fewer_frames_repeats_them_in_order(tmp_path, name):
    path = tmp_path / name
    write_animation(path, 3) if name == "a.gif" else write_video(path, frames=3)
    assert numbers(path, 7) == [0, 0, 1, 1, 1, 2, 2]


def test_parts_are_equal_in_frames_where_times_are_uneven(tmp_path):
    times = [*range(20), *range(100, 600, 25)]
    assert numbers(write_video(tmp_path / "a.mp4", times=times)) == MIDDLES
    assert numbers(write_video(tmp_path / "a.webm", "libvpx-vp9", times=times)) == MIDDLES


def test_frames_of_a_file_without_times_are_numbered(tmp_path):
    path = write_video(tmp_path / "a.h264", format="h264")
    with av.open(str(path)) as container:
        assert all(packet.pts is None for packet in container.demux())
    assert numbers(path) == MIDDLES


@pytest.fixture
def decoded(monkeypatch):
    """The places of all frames that were decoded."""
    places, decode = [], video_decoding._decoded

    def noted(*args, **options):
        for shown in decode(*args, **options):
            places.append(shown.place)
            yield shown

    monkeypatch.setattr(video_decoding, "_decoded", noted)
    return places


@pytest.mark.parametrize("name", ["a.mp4", "parts.mp4", "a.avi", "mpeg4.avi", "a.webm", "vp8.webm", "a.mkv", "a.mpg"])
def test_a_seek_leads_to_the_same_frames_for_less_decoding(tmp_path, monkeypatch, decoded, name):
    path = write_video(tmp_path / name, frames=120, **KINDS[name])
    assert numbers(path, 5) == [12, 36, 20, 4, 28]  # 12, 36, 60, 84, 108
    assert len(decoded) == 109
    decoded.clear()
    monkeypatch.setattr(video_decoding, "SEEK_OVER", 8)
    assert numbers(path, 5) == [12, 36, 20, 4, 28]
    assert len(decoded) < 80


def test_where_a_seek_lands_too_late_the_clip_is_decoded_from_its_start(tmp_path, monkeypatch, decoded):
    path = write_video(tmp_path / "a.mp4", frames=120)
    monkeypatch.setattr(video_decoding, "SEEK_OVER", 8)
    where = video_decoding._where_to_seek
    late = lambda *args: None if (at := where(*args)) is None else at + 20 * 1024  # noqa: E731
    monkeypatch.setattr(video_decoding, "_where_to_seek", late)
    assert numbers(path, 5) == [12, 36, 20, 4, 28]
    assert decoded[0] > 12 and decoded[1:3] == [0, 1] and decoded[-1] == 108


@pytest.mark.parametrize("matrix, size, corner", [((0, 1, -1, 0), (48, 64), (47, 0)), ((-1, 0, 0, -1), SIZE, (63, 47))])
def test_a_turned_clip_is_turned_back(tmp_path, matrix, size, corner):
    """Phones film sideways and say so in the track's matrix. The first pixel is marked to see where it goes."""
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        (stream.width, stream.height), stream.pix_fmt = SIZE, "yuv420p"
        pixels = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
        pixels[:16, :16] = 255
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels)))
        container.mux(stream.encode())
    as_bytes = lambda a, b, c, d: struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)  # noqa: E731
    head, track, rest = path.read_bytes().partition(b"tkhd")
    path.write_bytes(head + track + rest.replace(as_bytes(1, 0, 0, 1), as_bytes(*matrix), 1))
    (frame,) = read_frames(path, 1)
    assert frame.size == size
    corners = {(x, y): frame.getpixel((x, y))[0] for x in (0, size[0] - 1) for y in (0, size[1] - 1)}
    assert max(corners, key=corners.get) == corner and sorted(corners.values())[2] < 60


def test_pixels_become_square(tmp_path):
    path = write_video(tmp_path / "a.mp4", pixel_shape=Fraction(4, 3))
    assert read_frames(path, 1)[0].size == (85, 48)
    path = write_video(tmp_path / "b.mp4", pixel_shape=Fraction(900, 1))  # a mistake
    assert read_frames(path, 1)[0].size == SIZE


def test_transparency_goes_over_white(tmp_path):
    for name in ("a.gif", "a.webp"):
        frames = [Image.new("RGBA", (8, 8), (200, 0, 0, 0)) for _ in range(3)]
        for number, frame in enumerate(frames):
            frame.putpixel((number, 0), (0, 0, 0, 255))
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], disposal=2, lossless=True)
        for number, frame in enumerate(read_frames(tmp_path / name, 3)):
            assert frame.getpixel((7, 7)) == (255, 255, 255) and frame.getpixel((number, 0)) == (0, 0, 0)


def test_a_gif_or_webp_of_one_frame_is_a_picture(tmp_path):
    for name in ("one.gif", "one.webp", "one.PNG"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
        assert not is_video(tmp_path / name) and len(read_frames(tmp_path / name, 2)) == 2
    (tmp_path / "broken.gif").write_bytes(b"GIF89a")
    assert not is_video(tmp_path / "broken.gif") and not is_video(tmp_path / "missing.gif")
    assert is_video("anything.MP4") and not is_video("anything.jpg") and not is_video("mp4")


def test_content_decides_how_a_file_is_read(tmp_path):
    assert numbers(write_animation(tmp_path / "a.gif").rename(tmp_path / "gif.mp4")) == MIDDLES
    assert numbers(write_video(tmp_path / "a.mp4").rename(tmp_path / "mp4.gif")) == MIDDLES


def refused(path, reason):
    with pytest.raises(UnreadableVideo, match=reason) as error:
        read_frames(path, 8)
    assert error.value.path == str(path) and str(error.value) == f"{path}: {error.value.reason}"


@pytest.mark.parametrize("name", [name for name in KINDS if name not in ("a.wmv", "a.flv", "a.mpg")])
@pytest.mark.parametrize("sound", [None, "aac"])
def test_a_clip_cut_off_is_refused(tmp_path, name, sound):
    """MPEG, FLV and WMV declare no length that could be missed."""
    if KINDS[name] is None:
        whole = write(tmp_path / name)
    else:
        sound = "libopus" if sound and name.endswith("webm") else sound
        whole = write_video(tmp_path / name, sound=sound, **KINDS[name])
    assert numbers(whole) == MIDDLES
    for share in (0.4, 0.6, 0.8):
        refused(cut(whole, share), "cut off")


def test_a_clip_cut_off_between_two_frames_is_refused(tmp_path):
    """No frame is damaged; only the length in the header tells."""
    for name in ("a.avi", "first.mp4", "a.webm"):
        path = write(tmp_path / name)
        with av.open(str(path)) as container:
            starts = sorted(packet.pos for packet in container.demux() if packet.size)
        data = path.read_bytes()
        path.write_bytes(data[: starts[len(starts) // 2] - (8 if name == "a.avi" else 0)])
        refused(path, r"cut off: it ends after 2\.\d of 4\.0 s")


def test_a_clip_that_lacks_half_a_frame_is_refused(tmp_path):
    """Its length would pass."""
    refused(cut(write(tmp_path / "first.mp4"), 0.98), r"damaged or cut off [34]\.\d s in")
    refused(cut(write(tmp_path / "parts.mp4"), 0.95), r"damaged or cut off [34]\.\d s in")


def test_a_gif_needs_its_end_and_whole_frames(tmp_path):
    data = write(tmp_path / "a.gif").read_bytes()
    frames = [match.start() for match in re.finditer(rb"\x21\xf9\x04", data)]
    (tmp_path / "between.gif").write_bytes(data[: frames[20]])
    refused(tmp_path / "between.gif", "cut off: the mark that ends a GIF is not there")
    (tmp_path / "inside.gif").write_bytes(data[: frames[20] - 200] + data[-1:])
    refused(tmp_path / "inside.gif", "cut off")
    (tmp_path / "longer.gif").write_bytes(data + b"\r\n" + bytes(5000))
    assert numbers(tmp_path / "longer.gif") == MIDDLES


def test_damage_that_the_decoder_meets_is_refused(tmp_path):
    path = write_video(tmp_path / "first.mp4", movflags="faststart")
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux() if packet.size]
    data = bytearray(path.read_bytes())
    for start, size in places[10:20]:
        data[start : start + size] = b"\xff" * size
    path.write_bytes(data)
    refused(path, "damaged or cut off")


def test_files_that_are_no_clips_are_refused(tmp_path):
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_text("<html>404</html>" * 20, encoding="utf-8")
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "stub.gif").write_bytes(b"GIF89a\1\0\1\0\0\0\0;")
    refused(tmp_path / "empty.mp4", "the file is empty")
    refused(tmp_path / "text.mp4", "not a video that ffmpeg can open")
    refused(tmp_path / "missing.mp4", "No such file or directory")
    refused(tmp_path / "folder.mp4", "Is a directory")
    refused(tmp_path / "stub.gif", "damaged or cut off")
    refused(write_sound(tmp_path / "sound.mp4"), "it has no moving picture, only audio")


def test_the_cover_of_a_song_is_no_clip(tmp_path):
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as container:
        tone = add_tone(container)
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = *SIZE, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic.value
        container.mux(cover.encode(av.VideoFrame.from_ndarray(np.zeros((SIZE[1], SIZE[0], 3), np.uint8))))
        container.mux(cover.encode())
        write_tone(container, tone, 1.0)
    refused(path, "it has no moving picture, only audio and video")


def test_a_clip_of_too_many_pixels_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(video_timeline, "MAX_PIXELS", 64 * 48 - 1)
    for name in ("a.mp4", "a.gif"):
        refused(write(tmp_path / name), "64 x 48 pixels are more than 3,071")


def test_no_frames_cannot_be_asked_for(tmp_path):
    with pytest.raises(ValueError, match="0 frames of a clip: ask for at least 1"):
        read_frames(tmp_path / "a.mp4", 0)


def test_the_error_survives_pickling():
    error = pickle.loads(pickle.dumps(UnreadableVideo("a/b.mp4", "cut")))
    assert type(error) is UnreadableVideo and str(error) == "a/b.mp4: cut"


def test_frame_files_hold_the_very_frames(tmp_path):
    paths = [write(tmp_path / name) for name in ("a.mp4", "mpeg4.avi", "a.gif")]
    files = frame_files(paths, 11, tmp_path / "frames", workers=3)
    assert list(files) == [str(path) for path in paths]
    for path in paths:
        assert all(Path(file).parent.parent == tmp_path / "frames" for file in files[str(path)])
        for frame, file in zip(read_frames(path, 11), files[str(path)], strict=True):
            assert np.array_equal(np.asarray(frame), np.asarray(read_image(file)))


def test_frames_are_decoded_once_until_the_file_changes(tmp_path, monkeypatch, capsys):
    path, cache = write_video(tmp_path / "a.mp4"), tmp_path / "frames"
    first = frame_files([path], 4, cache)
    monkeypatch.setattr("clipknight.data.videos.evenly_spaced_frames", None)  # any decoding would fail
    capsys.readouterr()
    assert frame_files([path, str(path)], 4, cache) == first
    assert capsys.readouterr().err == ""
    monkeypatch.undo()
    assert len(frame_files([path], 5, cache)[str(path)]) == 5
    write_video(path, frames=8)
    again = frame_files([path], 4, cache)[str(path)]
    assert again != first[str(path)] and [number_of(read_image(file)) for file in again] == [1, 3, 5, 7]
    os.utime(path, ns=(1, 1))
    assert frame_files([path], 4, cache)[str(path)] != again
    os.remove(frame_files([path], 4, cache)[str(path)][0])
    assert [number_of(read_image(file)) for file in frame_files([path], 4, cache)[str(path)]] == [1, 3, 5, 7]


def test_two_names_of_a_file_and_two_files_of_a_name(tmp_path):
    (tmp_path / "b").mkdir()
    one, other = write_video(tmp_path / "a.mp4"), write_video(tmp_path / "b" / "a.mp4", frames=8)
    roundabout = f"{tmp_path}/b/../a.mp4"
    files = frame_files([one, roundabout, other], 2, tmp_path / "frames")
    assert files[str(one)] == files[roundabout] != files[str(other)]
    long = write_video(tmp_path / f"{'x' * 240}.mp4")
    assert len(frame_files([long], 2, tmp_path / "frames")[str(long)]) == 2


def test_all_failures_are_listed_and_leave_nothing_behind(tmp_path, capsys, outputs):
    whole, cache = write_video(tmp_path / "a.mp4"), tmp_path / "frames"
    (tmp_path / "empty.avi").write_bytes(b"")
    broken = [cut(write_animation(tmp_path / "b.gif"), 0.6), tmp_path / "empty.avi", tmp_path / "missing.mp4"]
    with pytest.raises(UnreadableMedia, match="3 unreadable videos: .*--skip_unreadable") as error:
        frame_files([broken[0], whole, *broken[1:]], 2, cache)
    assert list(error.value.reasons) == [str(path) for path in broken]
    path, reason = next(iter(error.value.reasons.items()))
    assert f"{path}: {reason}, " in str(error.value) and "\n" not in str(error.value)
    assert [folder.name[:2] for folder in cache.iterdir()] == ["a-"]

    files = frame_files([broken[0], whole, *broken[1:]], 2, cache, skip_unreadable=True)
    assert list(files) == [str(whole)]
    listed = outputs / "left_out" / "videos-unreadable.csv"
    assert "left out: 3 unreadable videos of videos: cut_b.gif, " in capsys.readouterr().out
    assert f"{broken[2]},No such file" in listed.read_text(encoding="utf-8")


def test_a_long_list_of_failures_is_shortened(tmp_path):
    with pytest.raises(UnreadableMedia, match="30 unreadable.*and 2[789] more") as error:
        frame_files([tmp_path / f"{i}.mp4" for i in range(30)], 2, tmp_path / "frames")
    assert len(error.value.reasons) == 30
    assert (tmp_path / "frames").is_dir()  # a worker that fails leaves it to the others


CLIPS = Path(__file__).parents[3] / "shared" / "data" / "msvd_clips"


@pytest.mark.skipif(not CLIPS.is_dir(), reason="real clips are not here")
def test_real_clips(tmp_path):
    clips = sorted(path for path in CLIPS.iterdir() if is_video(path))
    files = frame_files(clips, 6, tmp_path / "frames")
    assert len(files) == 5
    for frames in files.values():
        pixels = [np.asarray(read_image(frame), dtype=float) for frame in frames]
        assert all(p.std() > 20 for p in pixels)  # neither black nor flat
        assert all(np.abs(a - b).mean() > 1 for a, b in zip(pixels, pixels[1:]))
        assert read_image(frames[0]).size in [(320, 240), (480, 360), (640, 480)]
