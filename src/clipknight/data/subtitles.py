"""Captions of a clip's shots as subtitles that players show: SubRip (.srt) and WebVTT (.vtt)."""

from collections.abc import Iterable
from html import escape
from pathlib import Path

from clipknight.data.video_timeline import Shot
from clipknight.files import atomic_file


def write_subtitles(captions: Iterable[tuple[Shot, str]], path: str | Path) -> None:
    """Each shot's caption while the shot is shown. An empty one is left out, for it would end the entry."""
    as_vtt = Path(path).suffix.lower() == ".vtt"
    entries = ["WEBVTT\n"] if as_vtt else []
    shown = [(shot, " ".join(text.split())) for shot, text in captions if text.strip()]
    for number, (shot, text) in enumerate(shown, start=1):
        times = " --> ".join(_clock(seconds, "." if as_vtt else ",") for seconds in shot)
        entries.append(f"{number}\n{times}\n{escape(text, quote=False) if as_vtt else text}\n")
    with atomic_file(path) as temporary:
        temporary.write_text("\n".join(entries), encoding="utf-8", newline="\n")


def _clock(seconds: float, point: str) -> str:
    """3723.5 as 01:02:03,500."""
    milliseconds = round(seconds * 1000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{milliseconds // 1000:02}{point}{milliseconds % 1000:03}"
