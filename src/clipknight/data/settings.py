"""What settings of scripts take from this package; nothing heavy is imported here."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Columns:
    """Names of the columns of a table of captions."""

    image: str = "image"
    caption: str = "caption"
    split: str = "split"  # may be absent
