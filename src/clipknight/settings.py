"""Settings of a script: one frozen dataclass, filled from defaults < --config YAML < flags (jsonargparse).

A script composes its dataclass from small groups (of data, of hardware, of a run, ...) and takes up only those that it
reads. The type of a field says what is allowed (see ranges.py), its docstring what --help shows.
"""

import dataclasses
import difflib
import functools
import keyword
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar, get_origin, get_type_hints

from clipknight.files import atomic_file
from clipknight.messages import script_has, shortened
from clipknight.ranges import allowed, plain
from clipknight.settings_help import help_text, shown_name
from clipknight.yaml_files import parse_yaml, read_yaml

import yaml
from jsonargparse import ArgumentParser, set_parsing_settings

set_parsing_settings(docstring_parse_attribute_docstrings=True)  # --help shows what the dataclass documents
S = TypeVar("S")

# What scripts once accepted and never read, or no longer have: files of that time may still name it at its default.
RETIRED = {"skip_unreadable": False, "keep": "", "mixup": 0.0, "cutmix": 0.0, "metric": "cosine", "chat": False}


def without_effect(default, saved: bool = True):
    """A field that changes no result: a run goes on with another value, and a finished one is not made again.

    One that is not `saved` belongs to the call, not to the run.
    """
    return dataclasses.field(default=default, metadata={"effect": False, "saved": saved})


def resolved(*choices):
    """A field that is None until a script resolves it to one of `choices`, which its runs then have saved."""
    return dataclasses.field(default=None, metadata={"resolved": choices})


def same(field: dataclasses.Field, before, value) -> bool:
    """Whether a run made with `before` was made with `value`, which may be left to the script."""
    return before == value or (value is None and before in field.metadata.get("resolved", ()))


def of_own_meaning(default):
    """A field called like one of the dataset's that means something else: readers' messages do not advise it."""
    return dataclasses.field(default=default, metadata={"advised": False})


def changes_result(field: dataclasses.Field) -> bool:
    return field.metadata.get("effect", True)


class _Parser(ArgumentParser):
    def error(self, message, ex=None):
        raise ValueError(message)


def parse(settings: type[S], argv: Sequence[str] | None = None, description: str = "", positional: str = "") -> S:
    """Fill `settings` from `argv` (the process's own by default).

    Booleans are switches (`--resume`, `--no_resume`), lists take words (`--members a b`), `positional` names the list
    that free words go to. ValueError, in one line, for unknown flags, unknown keys of the file and bad values.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if "--help" in words or "-h" in words:
        print(help_text(settings, _parser(settings), description, positional))
        raise SystemExit(0)
    script_has(shown_name(field.name) for field in dataclasses.fields(settings) if field.metadata.get("advised", True))
    given, configs = _flags(settings, words, positional)
    values = {}
    for file in configs:
        values |= _known(settings, read_yaml(file), file)
    return fill(settings, values | given, {name: file for file in configs for name in values if name not in given})


def fill(settings: type[S], values: Mapping, file_of: Mapping | str = "") -> S:
    """`settings` with these values, each checked; `file_of` names the file, or each value's, for the message."""
    parser = _parser(settings)
    try:
        filled = parser.parse_object(dict(values)).as_dict()
    except ValueError as error:
        raise ValueError(_refusal(settings, values, file_of, str(error))) from None
    return settings(**{field.name: plain(filled[field.name]) for field in dataclasses.fields(settings)})


def save_settings(settings, path: str | Path) -> None:
    """Write the resolved settings as YAML that `--config` reads back."""
    saved = [field.name for field in dataclasses.fields(settings) if field.metadata.get("saved", True)]
    values = {name: getattr(settings, name) for name in saved}
    values = {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}
    with atomic_file(path) as temporary:
        temporary.write_text(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), encoding="utf-8")


def load_settings(path: str | Path) -> dict:
    """The mapping in a YAML file of settings."""
    return read_yaml(path, dict)


@functools.cache  # it reads the source of the class for the docstrings of its fields
def _parser(settings: type) -> _Parser:
    parser = _Parser(add_help=False)
    parser.add_class_arguments(settings)
    return parser


def _known(settings: type, values: dict, file: str) -> dict:
    """Without what is retired. ValueError for a key that is none of the settings."""
    names = {field.name for field in dataclasses.fields(settings)}
    values = {name: v for name, v in values.items() if name in names or RETIRED.get(name, values) != v}
    for name in values.keys() - names:
        raise ValueError(f"{shortened(file)}: no setting is called {shortened(name)}{_instead(str(name), names)}")
    return values


def _instead(name: str, names: set[str], dashes: str = "") -> str:
    near = difflib.get_close_matches(name[:100], names, n=1)
    return f"; do you mean {dashes}{shown_name(near[0])}?" if near else "; --help lists them"


def _refusal(settings: type, values: Mapping, file_of: Mapping | str, error: str) -> str:
    """In one line: where the value stands, the value, and what is allowed there."""
    types = get_type_hints(settings)
    found = re.search(r'Parser key "(\w+)"', error)
    if found and found[1] in types:
        name, value = found[1], values.get(found[1])
        file = file_of if isinstance(file_of, str) else file_of.get(name)
        value = shortened(" ".join(map(str, value)) if isinstance(value, list) else value) or "''"
        what = f"{shortened(file)}: {shown_name(name)}: {value}" if file else f"--{shown_name(name)} {value}"
        quotes = " (a number or true needs quotes to be text)" if file and types[name] is str else ""
        return f"{what} is not allowed: give {shortened(allowed(types[name]), 250)}{quotes}"
    if missing := re.search(r"arguments are required: (.*)", error):
        where = f"{shortened(file_of)} lacks" if isinstance(file_of, str) and file_of else "give"
        return f"{where} " + ", ".join(f"--{shown_name(name.strip())}" for name in missing[1].split(","))
    return shortened(error, 300)


def _flags(settings: type, argv: list[str], positional: str) -> tuple[dict, list[str]]:
    """The settings that the words give, by name, and the files of --config. ValueError for an unknown flag."""
    types = get_type_hints(settings)
    given, configs, free, i = {}, [], [], 0
    while i < len(argv):
        word, i = argv[i], i + 1
        if not word.startswith("--"):
            free.append(word)
            continue
        name, equals, value = word[2:].partition("=")
        name = name.replace("-", "_")
        name = f"{name}_" if keyword.iskeyword(name) else name  # --from fills the field from_
        hint = types.get(name)
        if not equals and hint is bool:
            given[name] = True
        elif not equals and name.startswith("no_") and types.get(name[3:]) is bool:
            given[name[3:]] = False
        elif not equals and get_origin(hint) is list:
            start = i
            while i < len(argv) and not argv[i].startswith("--"):
                i += 1
            given[name] = argv[start:i]
        elif hint is None and name != "config":
            raise ValueError(f"unknown flag --{shortened(name)}{_instead(name, set(types), '--')}")
        else:
            if not equals:
                if i == len(argv):
                    raise ValueError(f"--{shown_name(name)} needs a value")
                value, i = argv[i], i + 1
            if name == "config":
                configs.append(value)
            elif get_origin(hint) is list:
                given[name] = parse_yaml(value, f"--{name}") if value.startswith("[") else [value]
            else:
                given[name] = value
    if free and not positional:
        raise ValueError(f"unknown word {shortened(free[0])}: every setting has a flag, --help lists them")
    return given | ({positional: free} if free else {}), configs
