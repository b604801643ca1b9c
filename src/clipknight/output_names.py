"""Names of outputs, before any work: of a kind that the script writes, and of nothing that it reads."""

import re
from pathlib import Path

from clipknight.paths import existing


def check_output(flag: str, out: str | Path, kinds: tuple[str, ...], *inputs: str | Path) -> None:
    """ValueError where `out`, which `flag` names, ends as none of `kinds` do, or where writing it would lose an input.

    With `kinds`, `out` is to be a file. A name without an ending has no kind. Of a folder among `inputs` each file is
    one; "" is none, nor is a device.
    """
    if not str(out) or (out := Path(out)).is_char_device():
        return
    if kinds and re.fullmatch(r"\.[A-Za-z]+", out.suffix) and out.suffix.lower() not in kinds:
        raise ValueError(f"{flag} {out} does not end in {' or '.join(kinds)}, which is what is written")
    if kinds and out.is_dir():
        raise ValueError(f"{flag} {out} is a folder: name a file")
    if above := next((folder for folder in out.parents if folder.is_file()), None):
        raise ValueError(f"{flag} {out} cannot be made: {above} is a file, not a folder")
    place = out.resolve()
    for given in filter(None, map(str, inputs)):
        read = existing(Path(given).expanduser()).resolve()
        if place == read or _same_file(place, read):
            raise ValueError(f"{flag} {out} would replace {given}: choose another {flag}")
        if read.is_relative_to(place) and read.exists():
            raise ValueError(f"{flag} {out} would replace the folder that {given} lies in: choose another {flag}")
        if place.is_relative_to(read) and place.is_file():
            raise ValueError(f"{flag} {out} would replace a file of {given}: choose another {flag}, or delete it first")


def _same_file(a: Path, b: Path) -> bool:
    """Whether both names are of one file, as those of hard links, or of two ways to write letters, are."""
    try:
        return a.samefile(b)
    except OSError:
        return False
