"""How messages name many things in few words."""


def a_few(items, limit: int = 5) -> str:
    """Items for a message: the first few, and how many more there are."""
    items = [str(item) for item in items]
    return ", ".join(items[:limit]) + (f" and {len(items) - limit:,} more" if len(items) > limit else "")


def shortened(text, limit: int = 200) -> str:
    """Text for a message, on one line: its beginning, where it is long."""
    line = " ".join(str(text).split()).rstrip(".")
    return line if len(line) <= limit else line[: limit - 1] + "…"
