"""Text of users in matplotlib's pictures, shown as it is: names of runs, captions, paths."""

from clipknight.messages import shortened


def shown(text: str) -> str:
    r"""`text` without the mathematics that matplotlib would read between two $.

    >>> shown("$5 or $6")
    '\\$5 or \\$6'
    """
    return str(text).replace("$", r"\$")


def label(name: str) -> str:
    """`shown` on one line; a name that begins with _ has its place in the legend too."""
    name = shown(shortened(name))
    return f" {name}" if name.startswith("_") else name
