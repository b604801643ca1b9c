"""How messages name many things in few words."""


def a_few(items, limit: int = 5) -> str:
    """Items for a message: the first few, and how many more there are."""
    items = [str(item) for item in items]
    return ", ".join(items[:limit]) + (f" and {len(items) - limit:,} more" if len(items) > limit else "")
