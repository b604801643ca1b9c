"""How messages name many things, and long ones, in few words."""

import re
from collections.abc import Iterable

FLAG = re.compile(r"--([a-z_]+)")
_flags: set[str] | None = None  # of the script that runs; None while none does
_recipe: re.Pattern | None = None  # a recipe as messages name it, where its user types `clipknight NAME`
LONGEST_VALUE = 80  # characters of one value
LONGEST_ITEM, LONGEST_LIST = 160, 330  # of what `a_few` lists
KINDS = {
    str: "text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    list: "a list",
    dict: "a mapping of names to values",
}


def script_has(flags: Iterable[str] | None) -> None:
    """Say which flags the script that runs has, None where it ends: `advice` names no others."""
    global _flags
    _flags = None if flags is None else set(flags)


def advice(text: str) -> str:
    """`text`, the end of a message, if the script that runs has every flag that it names, else ""."""
    return text if _flags is None or _flags.issuperset(FLAG.findall(text)) else ""


def commands_are(names: Iterable[str]) -> None:
    """Say that recipes of these names are run by the command `clipknight`: `as_typed` names them so."""
    global _recipe
    _recipe = re.compile(rf"(?<![\w/])(?:python )?(?:src/)?({'|'.join(names)})\.py\b")


def as_typed(text: str) -> str:
    """`text` with `clipknight caption` for `python src/caption.py` or `caption.py`, where its user types that."""
    return _recipe.sub(r"clipknight \1", text) if _recipe else text


def a_few(items, limit: int = 5) -> str:
    """Items for a message: the first few, each shortened, and how many more there are."""
    items = list(items)
    shown = []
    for item in items[:limit]:
        item = shortened(item, LONGEST_ITEM)
        if shown and len(", ".join([*shown, item])) > LONGEST_LIST:
            break
        shown.append(item)
    return ", ".join(shown) + (f" and {len(items) - len(shown):,} more" if len(items) > len(shown) else "")


def counted(number: int, thing: str) -> str:
    """A number with its noun, in the singular where it is one: "1 image", "2,000 images"."""
    return f"{number:,} {thing}" + ("" if number == 1 else "s")


def shortened(value, longest: int = LONGEST_VALUE) -> str:
    """A value as part of one line: what is long is cut in its middle, what a terminal cannot show is escaped."""
    text = value if isinstance(value, str) else str(value)
    escaped = "".join(map(_shown, cut(text, longest)))
    return cut(escaped, longest)


def cut(text: str, longest: int) -> str:
    """At most `longest` letters: the middle of a longer text is left out, for a message's remedy stands at its end."""
    if len(text) <= longest:
        return text
    head = (longest - 1) * 2 // 3
    return f"{text[:head]}…{text[len(text) - (longest - 1 - head) :]}"


def _shown(character: str) -> str:
    """Line breaks and other invisible characters, and halves of characters, as Python writes them in a string."""
    return character if character.isprintable() else ascii(character)[1:-1]
