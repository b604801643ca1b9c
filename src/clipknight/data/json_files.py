"""JSON, read strictly: types are checked, and a message says where something is wrong. Nothing is made into text."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from clipknight.data.text_files import read_text
from clipknight.messages import a_few, shortened

TEXT, ID, LIST = (str,), (int, str), (list,)
WORDS = {TEXT: "text", ID: "a whole number or text", LIST: "a list"}
ESCAPED = re.compile(r"\\u(?:[dD][89a-fA-F]|0000)")  # what can become half a character, or NUL


def read_json(path: str | Path):
    """What a JSON file holds. ValueError, with the line or the place, for what is broken, doubled, or no text."""
    text = read_text(path)
    try:
        data = json.loads(text, object_pairs_hook=_with_unique_keys, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}, line {error.lineno}: broken JSON: {error.msg}") from None
    except RecursionError:
        raise ValueError(f"{path}: lists within lists, too deep for a file of captions") from None
    except ValueError as error:  # ours, and Python's for numbers of thousands of digits
        raise ValueError(f"{path}: {str(error).partition(';')[0]}") from None
    if ESCAPED.search(text):
        for place, value in _texts(data):
            if not _is_whole(value):
                raise ValueError(
                    f"{path}, {place}: {shortened(value)!r} has NUL or half a character (a surrogate); take it out"
                )
    return data


def read_json_lines(path: Path) -> list[tuple[int, dict]]:
    """The records of a file with one a line, and their lines. ValueError, with the line, for what is no record."""
    found = []
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line, object_pairs_hook=_with_unique_keys, parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}, line {number}: broken JSON: {shortened(error)}") from None
        if not isinstance(record, dict):
            raise ValueError(f"{path}, line {number}: {shown(record)}, not a record")
        if odd := next((text for _, text in _texts(record) if not _is_whole(text)), None):
            raise ValueError(f"{path}, line {number}: {shortened(odd)!r} has NUL or half a character; take it out")
        found.append((number, record))
    return found


def records(path: str | Path, data, name: str, fields: dict[str, tuple]) -> list[dict]:
    """`data[name]`, a list of records with `fields` of these types. ValueError names the first that is otherwise."""
    entries = data.get(name) if isinstance(data, dict) else None
    needed = f"{path} needs {name!r}, a list of records that each have {', '.join(fields)}"
    if not isinstance(entries, list) or not entries:
        raise ValueError(f"{needed}; it is {shown(entries)}")
    for number, entry in enumerate(entries, 1):
        if not isinstance(entry, dict):
            raise ValueError(f"{needed}; number {number} is {shown(entry)}")
        for field, types in fields.items():
            if not is_of(entry.get(field), types):
                value = shown(entry[field]) if field in entry else "missing"
                raise ValueError(f"{needed}; in number {number} {field!r} is {value}, not {WORDS[types]}")
    return entries


def is_of(value, types: tuple) -> bool:
    return isinstance(value, types) and not isinstance(value, bool)


def shown(value) -> str:
    """A value of JSON in a message: the start of a text, the size of what holds others."""
    if isinstance(value, str):
        return shortened(repr(shortened(value)))
    if isinstance(value, list):
        return f"a list of {len(value):,}"
    if isinstance(value, dict):
        return f"a record of {a_few(value, 3) or 'nothing'}"
    return shortened(json.dumps(value), 40)


def _with_unique_keys(pairs: list[tuple]) -> dict:
    record = dict(pairs)
    if len(record) < len(pairs):
        seen = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise ValueError(f"{shortened(twice)!r} stands twice in one record")
    return record


def _no_number(word: str):
    raise ValueError(f"{word} is no number in JSON")


def _texts(data) -> Iterator[tuple[str, str]]:
    """Every text in `data` and its place; a loop, for data may be deep."""
    left = [((), data)]
    while left:
        place, value = left.pop()
        if isinstance(value, str):
            yield ", ".join(shortened(key) if isinstance(key, str) else f"number {key + 1}" for key in place), value
        elif isinstance(value, dict):
            left += [((*place, "a name"), key) for key in value]
            left += [((*place, key), inner) for key, inner in value.items()]
        elif isinstance(value, list):
            left += [((*place, i), inner) for i, inner in enumerate(value)]


def _is_whole(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)
