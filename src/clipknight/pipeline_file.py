"""What stands in a file of pipeline.py: steps, those that are repeated `for` values, and settings as flags."""

from collections.abc import Iterator, Mapping
from itertools import product
from string import Template

from clipknight.messages import shortened


def steps_of(entries: list[dict], values: Mapping) -> Iterator[tuple[str, dict]]:
    """(script, settings) of each step, $name filled from `values`; those under a `for` for each combination of its own.

    ValueError for what is neither.
    """
    for entry in entries:
        if not isinstance(entry, dict) or len(entry) != 1 + ("for" in entry):
            raise ValueError(f"no step: {shortened(entry)!r}; a step is one script's name and its settings")
        if "for" not in entry:
            ((script, settings),) = entry.items()
            if not isinstance(settings or {}, dict):
                raise ValueError(f"no settings: {shortened(settings)!r}; they are a mapping of names to values")
            yield script, {str(name): filled(value, values) for name, value in (settings or {}).items()}
            continue
        choices, steps = entry["for"], entry.get("steps")
        if not isinstance(choices, dict) or not all(isinstance(c, list) for c in choices.values()) or steps is None:
            raise ValueError(f"`for` gives each name a list and stands beside `steps`, unlike {shortened(entry)!r}")
        if not isinstance(steps, list):
            raise ValueError(f"`steps` is a list, unlike {shortened(steps)!r}")
        for chosen in product(*choices.values()):
            yield from steps_of(steps, {**values, **dict(zip(choices, chosen))})


def filled(value, values: Mapping):
    """A setting with $name replaced by its value. ValueError for a name that no `for` gives."""
    if isinstance(value, list):
        return [filled(word, values) for word in value]
    try:
        return Template(value).substitute(values) if values and isinstance(value, str) else value
    except (KeyError, ValueError):
        given = ", ".join(values)
        raise ValueError(f"{shortened(value)!r} names more than its `for` gives: {given}; $$ stands for $") from None


def as_flags(settings: dict) -> list[str]:
    """Settings as command-line words."""
    words = []
    for name, value in settings.items():
        if isinstance(value, bool):
            words.append(f"--{name}" if value else f"--no_{name}")
        elif value is None:
            words += [f"--{name}", "null"]
        elif isinstance(value, list):
            words += [f"--{name}", *map(str, value)]
        else:
            words += [f"--{name}", str(value)]
    return words
