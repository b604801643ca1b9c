"""Settings of a script: one frozen dataclass, filled from defaults < --config YAML < flags (jsonargparse)."""

import dataclasses
import json
import keyword
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar, get_args, get_origin, get_type_hints

from clipknight.files import atomic_file

import yaml
from jsonargparse import ArgumentParser, set_parsing_settings

set_parsing_settings(docstring_parse_attribute_docstrings=True)  # --help shows what the dataclass documents
S = TypeVar("S")


class _Parser(ArgumentParser):
    """Shows a field that is named for a keyword as it is typed: --from FROM, not --from_ FROM_."""

    def format_help(self) -> str:
        return re.sub(r"(--\w+|\b[A-Z]+)_\b", r"\1", super().format_help())

    def format_usage(self) -> str:
        return re.sub(r"(--\w+|\b[A-Z]+)_\b", r"\1", super().format_usage())


def parse(settings: type[S], argv: Sequence[str] | None = None, description: str = "", positional: str = "") -> S:
    """Fill `settings` from `argv` (the process's own by default).

    Booleans are switches (`--resume`, `--no_resume`), lists take words (`--members a b`), `positional` names the list
    that free words go to. Unknown flags and unknown keys of the file end the program with their name.
    """
    script = Path(sys.argv[0]).name if argv is None else ""
    parser = _Parser(prog=script or None, description=description, allow_abbrev=False)
    parser.add_argument("--config", action="config", help="YAML file with any of the settings below; flags win")
    parser.add_class_arguments(settings)
    words = _in_parser_form(settings, list(sys.argv[1:] if argv is None else argv), positional)
    values = parser.parse_args(words).as_dict()
    return settings(**{field.name: values[field.name] for field in dataclasses.fields(settings)})


def save_settings(settings, path: str | Path) -> None:
    """Write the resolved settings as YAML that `--config` reads back."""
    plain = {name: str(v) if isinstance(v, Path) else v for name, v in dataclasses.asdict(settings).items()}
    plain = {name: v for name, v in plain.items() if name not in ("resume", "overwrite")}  # of the call, not of the run
    with atomic_file(path) as temporary:
        temporary.write_text(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True), encoding="utf-8")


def load_settings(path: str | Path) -> dict:
    """The mapping in a YAML file of settings."""
    return yaml.safe_load(Path(path).read_text(encoding="utf-8"))


def _in_parser_form(settings: type, argv: list[str], positional: str) -> list[str]:
    """Rewrite switches, word lists and dashed names into the one `--name=value` form the parser takes."""
    types = get_type_hints(settings)
    config, words, free, i = [], [], [], 0
    while i < len(argv):
        word, i = argv[i], i + 1
        word = "--help" if word == "-h" else word
        if not word.startswith("--"):
            free.append(word)
            continue
        name, equals, value = word[2:].partition("=")
        name = name.replace("-", "_")
        name = f"{name}_" if keyword.iskeyword(name) else name  # --from fills the field from_
        if name == "config":  # goes first: the parser lets the later word win
            config += [f"--config={value}"] if equals else ["--config", *argv[i : i + 1]]
            i += not equals
        elif equals:
            one_of_list = get_origin(types.get(name)) is list and not value.startswith("[")
            words.append(f"--{name}={_flow_list([value], types[name]) if one_of_list else value}")
        elif types.get(name) is bool:
            words.append(f"--{name}=true")
        elif name.startswith("no_") and types.get(name[3:]) is bool:
            words.append(f"--{name[3:]}=false")
        elif get_origin(types.get(name)) is list:
            start = i
            while i < len(argv) and not argv[i].startswith("--"):
                i += 1
            words.append(f"--{name}={_flow_list(argv[start:i], types[name])}")
        else:
            words.append(f"--{name}")
            if i < len(argv) and name in types:
                words.append(argv[i])
                i += 1
    if free and positional:
        words.append(f"--{positional}={_flow_list(free, types[positional])}")
        free = []
    return config + words + free


def _flow_list(words: list[str], of: type) -> str:
    """YAML of a list: strings quoted, for `7` and `1e3` may be names too."""
    return json.dumps(words, ensure_ascii=False) if get_args(of) == (str,) else f"[{', '.join(words)}]"
