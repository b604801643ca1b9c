"""Messages advise flags that the scripts have which show them."""

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import clipknight
from clipknight.settings_help import shown_name

import pytest

PACKAGE = Path(clipknight.__file__).parent
SCRIPTS = {file.stem: file for file in PACKAGE.parent.glob("*.py")}
NAMED = re.compile(r"\b(\w+)\.py\b([^;]*)")  # a script, and what is to be passed to it
FLAG = re.compile(r"--(\w+)")
# Messages of the readers that only one script, or only those with the flag, call.
OF_ONE_SCRIPT = {
    "questions.py": {"images"},  # answer.py
    "result_files.py": {"allow_partial"},  # score.py
    "listing.py": {"skip_unreadable"},  # said where the caller has it
    "clip.py": {"features", "overwrite"},  # of what was asked for by --features; of another command
}


def texts(file: Path) -> Iterator[str]:
    """The words of every message: strings, with … for what is filled in, but for docstrings and what `advice` has."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and getattr(n.func, "id", "") == "advice"]
    left_out = {id(inner) for call in calls for inner in ast.walk(call)}
    left_out |= {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
    joined = [n for n in ast.walk(tree) if isinstance(n, ast.JoinedStr) and id(n) not in left_out]
    left_out |= {id(part) for n in joined for part in ast.walk(n)}
    for node in joined:
        yield "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in left_out:
            yield node.value


def flags_of(script: str) -> set[str]:
    module = importlib.import_module(script)
    settings = [c.settings for c in getattr(module, "COMMANDS", {}).values()] or [module.Settings]
    return {shown_name(name) for s in settings for name in s.__dataclass_fields__}


@pytest.mark.parametrize("package", ["data", "embedding"])
def test_what_every_script_reads_advises_no_flag_that_some_lack(package):
    for file in sorted((PACKAGE / package).glob("*.py")):
        flags = {flag for text in texts(file) if not NAMED.search(text) for flag in FLAG.findall(text)}
        assert flags <= OF_ONE_SCRIPT.get(file.name, set()), f"{file}: {flags}"


def test_a_script_that_is_named_has_the_flags_named_with_it():
    seen = 0
    for file in [*PACKAGE.rglob("*.py"), *SCRIPTS.values()]:
        for text in texts(file):
            for script, passed in NAMED.findall(text):
                flags = set(FLAG.findall(passed.split(" or ")[0]))
                if script in SCRIPTS and flags:
                    seen += 1
                    assert flags <= flags_of(script), f"{file}: {text}"
    assert seen > 10
