"""What settings of scripts take from this package; nothing heavy is imported here."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Columns:
    """Names of the columns of a table of captions.

    Those `of_another` table are taken where this one has them too, and no more asked for than the known ones.
    """

    image: str = "image"
    caption: str = "caption"
    split: str = "split"  # may be absent
    of_another: bool = False

    def for_another(self) -> "Columns":
        """What they are for a table that they were not named for."""
        return replace(self, of_another=True)
