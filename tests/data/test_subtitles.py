"""Subtitles as players read them."""

from clipknight.data.subtitles import write_subtitles
from clipknight.data.video_timeline import Shot

SHOTS = [(Shot(0, 5), "a dog & a <b>"), (Shot(5, 3723.5), " two\n\nlines "), (Shot(3723.5, 3724), " ")]


def test_subrip(tmp_path):
    write_subtitles(SHOTS, tmp_path / "x.srt")
    assert (tmp_path / "x.srt").read_bytes().decode() == (
        "1\n00:00:00,000 --> 00:00:05,000\na dog & a <b>\n\n2\n00:00:05,000 --> 01:02:03,500\ntwo lines\n"
    )


def test_webvtt(tmp_path):
    write_subtitles(SHOTS, tmp_path / "x.vtt")
    assert (tmp_path / "x.vtt").read_bytes().decode() == (
        "WEBVTT\n\n1\n00:00:00.000 --> 00:00:05.000\na dog &amp; a &lt;b&gt;\n\n"
        "2\n00:00:05.000 --> 01:02:03.500\ntwo lines\n"
    )
