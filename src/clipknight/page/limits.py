"""What the page takes at most: it stands open to whatever is dropped on it."""

from dataclasses import dataclass

MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Limits:
    """Of one upload, and of all who use the page together."""

    upload: int = 200 * MEBIBYTE  # bytes of a file, and of all that are sent at once
    unpacked: int = 500 * MEBIBYTE  # bytes of all that a zip holds
    files: int = 100  # pictures and clips that are captioned at once, also in zips
    animation: int = 2_000_000_000  # pixels of all frames of a GIF or WebP: Pillow draws each to reach the next
    frames: int = 16  # looked at of a clip, or of each shot
    shots: int = 60  # of a clip that is cut into them
    seconds: float = 300  # until captioning stops and shows what there is
    queue: int = 16  # requests that wait; one computes
    kept: int = 3600  # seconds that files stay on the disk at most
