"""Text files, read whole: UTF-8, or refused with the line and what to do."""

import stat
from pathlib import Path

UTF_16 = (b"\xff\xfe", b"\xfe\xff")
PACKED = {b"\x1f\x8b": "gzip", b"PK\3\4": "a zip file, as Excel's xlsx is", b"BZh": "bzip2", b"\xfd7zXZ": "xz"}
REMEDY = "save the file as UTF-8 (Excel calls that CSV UTF-8)"


def read_text(path: str | Path) -> str:
    """The text of a UTF-8 file, its byte order mark left out. ValueError says where it is not UTF-8."""
    refuse_stream(path)
    data = Path(path).read_bytes()
    refuse_packed(path, data)
    kind = ", it is UTF-16" if data.startswith(UTF_16) else ""
    try:
        text = data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{path}, line {line}: byte {data[error.start]:#04x} is not UTF-8{kind}; {REMEDY}") from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise ValueError(f"{path}, line {line}: a NUL byte, so the file is damaged or no plain text; {REMEDY}")
    return text


def refuse_stream(path: str | Path) -> None:
    """ValueError for a pipe or a device, which may never end, or give its text to the first of two readers alone."""
    mode = Path(path).stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise ValueError(f"{path} is a pipe or a device, which can't be read twice: save what it gives as a file")


def refuse_packed(path: str | Path, start: bytes) -> None:
    """ValueError for a file that begins as an archive does."""
    if kind := next((kind for first, kind in PACKED.items() if start.startswith(first)), None):
        raise ValueError(f"{path} is packed ({kind}): unpack it, or save it as text")
