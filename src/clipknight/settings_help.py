"""What --help prints: the script's own words as they stand, then each setting with what is allowed and its default."""

import dataclasses
import sys
import textwrap
from pathlib import Path
from typing import get_args, get_origin, get_type_hints

from clipknight.messages import as_typed
from clipknight.ranges import allowed

WIDTH = 110  # of an explanation


def shown_name(name: str) -> str:
    """A setting as it is typed: --from for the field from_, whose name Python keeps for itself."""
    return name.removesuffix("_")


def help_text(settings: type, parser, description: str, positional: str) -> str:
    """The page; `parser` is jsonargparse's, which knows the fields' docstrings and defaults."""
    types = get_type_hints(settings)
    described = {action.dest: action for action in parser._actions}
    own = vars(settings).get("__annotations__", {})  # what only this script has stands before the groups it takes up
    names = sorted((field.name for field in dataclasses.fields(settings)), key=lambda name: name not in own)
    fields = [described[name] for name in names if name in described]
    required = [f"--{shown_name(action.dest)} {_metavar(action.dest)}" for action in fields if action.required]
    words = [f"[{_metavar(positional)}...]"] if positional else []
    lines = [f"usage: {' '.join([Path(sys.argv[0]).name, *words, *required, '[--setting value ...]'])}", ""]
    lines += [description.strip(), ""] if description else []
    lines = [as_typed(line) for line in lines]
    lines += ["settings:", "  --config FILE", "        YAML file with any of the settings below; flags win"]
    for action in sorted(fields, key=lambda action: not action.required):
        typed = _typed(action.dest, types[action.dest], positional)
        explained = textwrap.wrap(as_typed(_explained(action, types[action.dest])), WIDTH, break_on_hyphens=False)
        lines += [f"  {typed}", *(f"        {line}" for line in explained)]
    return "\n".join(lines)


def _metavar(name: str) -> str:
    shown = shown_name(name)
    return shown.upper() if shown.endswith(("us", "ss")) else shown.upper().removesuffix("S")


def _typed(name: str, hint, positional: str) -> str:
    flag = shown_name(name)
    if name == positional:
        return f"{_metavar(name)}..."
    if hint is bool:
        return f"--{flag}/--no_{flag}"
    return f"--{flag} {flag.upper()}" if get_origin(hint) is not list else f"--{flag} {_metavar(name)}..."


def _explained(action, hint) -> str:
    """Its docstring, what is allowed where that is not any text, and the default where there is one."""
    of = get_args(hint)[0] if get_origin(hint) is list else hint
    notes = [] if of in (str, bool) or allowed(of) == "text" else [allowed(of)]
    if action.required:
        notes.append("required")
    elif action.default not in ("", None, []):
        default = action.default
        listed = " ".join(map(str, default)) if isinstance(default, list) else str(default)
        notes.append(f"default {listed.lower() if hint is bool else listed}")
    text = " ".join((action.help or "").split())
    return f"{text} ({'; '.join(notes)})" if notes else text
