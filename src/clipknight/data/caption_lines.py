"""Captions as their authors gave them, a line each without a header: Flickr8k's and 30k's token files, MSVD's list."""

import re
from pathlib import Path
from typing import NamedTuple

import pandas as pd


class LineForm(NamedTuple):
    """`pattern` of a line: name and caption; `media` is the name of what it describes."""

    pattern: re.Pattern
    example: str
    media: str


FLICKR = re.compile(r"(?P<name>[^\t]+)#\d+\t(?P<caption>.*)")
MSVD = re.compile(r"(?P<name>[\w-]{11}_\d+_\d+)\s+(?P<caption>.*)")
FORMS = (
    LineForm(FLICKR, "name.jpg#0, a tab, the caption", "image"),
    LineForm(MSVD, "video_start_end, a space, the caption", "video"),
)


def form_of(line: str) -> LineForm | None:
    """The form that a file's first line is in."""
    return next((form for form in FORMS if form.pattern.fullmatch(line)), None)


def read_caption_lines(path: Path, text: str, form: LineForm) -> pd.DataFrame:
    """Rows of name, caption and number, of lines in that form; blank ones, and MSVD's of remarks (#), are left out."""
    found = []
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), 1):
        if match := form.pattern.fullmatch(line):
            found.append((match["name"], match["caption"], number))
        elif line.strip() and not line.startswith("#"):
            raise ValueError(f"{path}, line {number}: other lines of this file are {form.example}; this one is not")
    return pd.DataFrame(found, columns=["name", "caption", "number"]).astype({"name": "str", "caption": "str"})
