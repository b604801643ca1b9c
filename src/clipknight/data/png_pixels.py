"""The pixels of a PNG whose other parts are damaged: Pillow stops at a broken comment, a viewer shows the picture."""

import io
from pathlib import Path

SIGNATURE = b"\x89PNG\r\n\x1a\n"
NEEDED = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")


def without_metadata(path: str | Path) -> io.BytesIO | None:
    """The file with only the parts that pixels are made of; None for a file that is no PNG."""
    with open(path, "rb") as file:
        if file.read(len(SIGNATURE)) != SIGNATURE:
            return None
        kept = [SIGNATURE]
        while len(head := file.read(8)) == 8:
            kind, length = head[4:], int.from_bytes(head[:4], "big")
            if kind in NEEDED:
                kept.append(head + file.read(length + 4))  # its checksum with it
            else:
                file.seek(length + 4, io.SEEK_CUR)
            if kind == b"IEND":
                break
    return io.BytesIO(b"".join(kept))
