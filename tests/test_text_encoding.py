"""Text is UTF-8 on every system: Windows would take another encoding where none is named."""

import ast
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
FILES = [file for folder in ("src", "tests", "benchmarks") for file in sorted((PROJECT / folder).rglob("*.py"))]


def names_no_encoding(call: ast.Call) -> bool:
    """Whether a call reads or writes text in whatever encoding the system has."""
    if any(keyword.arg == "encoding" for keyword in call.keywords):
        return False
    if isinstance(call.func, ast.Attribute):
        return call.func.attr in ("read_text", "write_text")
    modes = [*call.args[1:2], *(keyword.value for keyword in call.keywords if keyword.arg == "mode")]
    return isinstance(call.func, ast.Name) and call.func.id == "open" and "b" not in "".join(map(ast.unparse, modes))


def lines_without_encoding(source: str) -> list[int]:
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return sorted(call.lineno for call in calls if names_no_encoding(call))


def test_every_text_file_is_opened_as_utf8():
    found = {file: lines_without_encoding(file.read_text(encoding="utf-8")) for file in FILES}
    assert not [f"{file.relative_to(PROJECT)}:{line}" for file, lines in found.items() for line in lines]


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("p.read_text()\np.write_text(x, encoding='utf-8')\np.write_text(x)", [1, 3]),
        ("open(p)\nopen(p, 'rb')\nopen(p, mode='ab')\nopen(p, 'w', encoding='utf-8')\nopen(p, 'w')", [1, 5]),
    ],
)
def test_what_is_found(source, lines):
    assert lines_without_encoding(source) == lines
