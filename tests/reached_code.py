"""Which functions a script may call, and which words they may show, found in the source: more than it does, never less.

What a name stands for is followed through imports. A method of an object whose class is not known counts for every
class that the functions found so far name.
"""

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import clipknight

SOURCE = Path(clipknight.__file__).parents[1]
LATE = re.compile(r"clipknight[\w.]+:\w+")  # what is imported by its name: module:Class
CALLED_BY_PYTHON = {"__init__", "__post_init__", "__call__", "__getitem__", "__iter__", "__len__", "__missing__"}


@functools.cache
def modules() -> dict[str, ast.Module]:
    files = {file: file.relative_to(SOURCE).with_suffix("") for file in SOURCE.rglob("*.py")}
    return {".".join(name.parts): ast.parse(file.read_text(encoding="utf-8")) for file, name in files.items()}


@functools.cache
def definitions() -> dict[str, ast.stmt]:
    """By "module:name" and "module:Class.method": functions, classes, methods and what is assigned in a module."""
    found = {}
    for module, tree in modules().items():
        for node in tree.body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            names = [target.id for target in targets if isinstance(target, ast.Name)]
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                names = [node.name]
            found |= {f"{module}:{name}": node for name in names}
            if isinstance(node, ast.ClassDef):
                inner = [part for part in node.body if isinstance(part, ast.FunctionDef)]
                found |= {f"{module}:{node.name}.{part.name}": part for part in inner}
    return found


@functools.cache
def _imported(module: str) -> dict[str, str]:
    """By the name a module has for it: "module:name", or a module."""
    found = {}
    for node in ast.walk(modules()[module]):
        if isinstance(node, ast.ImportFrom):
            found |= {alias.asname or alias.name: f"{node.module}:{alias.name}" for alias in node.names}
    return found


def _meant(module: str, name: str) -> str | None:
    key = f"{module}:{name}"
    while key not in definitions():
        module, _, name = key.partition(":")
        if module not in modules() or (key := _imported(module).get(name)) is None:
            return None
    return key


def reached(start: str) -> set[str]:
    """The definitions that are called or named from "module:function" on."""
    seen, found, attributes = set(), {start}, set(CALLED_BY_PYTHON)
    while found:
        seen |= found
        for named, loose in map(_named_in, found):
            found = found | named
            attributes |= loose
        classes = {*map(_class_of, seen)}
        found |= {key for key, owner, name in _methods() if owner in classes and name in attributes}
        found = (found & definitions().keys()) - seen
    return seen


@functools.cache
def _methods() -> list[tuple[str, str, str]]:
    """Its key, its class and its name."""
    return [(key, _class_of(key), key.rpartition(".")[2]) for key in definitions() if _class_of(key) != key]


def _class_of(key: str) -> str:
    """The class that a method is of; what is no method, as it is."""
    module, _, name = key.partition(":")
    return f"{module}:{name.partition('.')[0]}"


@functools.cache
def _named_in(key: str) -> tuple[set[str], set[str]]:
    """The definitions that one names, and attributes of what is not known."""
    module, named, attributes = key.partition(":")[0], set(), set()
    for node in parts_of(key):
        if isinstance(node, ast.Name):
            named.add(_meant(module, node.id))
        elif isinstance(node, ast.Attribute):
            attributes.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and LATE.fullmatch(node.value):
            named.add(node.value)
    return named - {None}, attributes


def parts_of(key: str) -> Iterator[ast.AST]:
    """What stands in a definition; of a class all but its methods, which are definitions of their own."""
    node = definitions()[key]
    left = [node]
    while left:
        part = left.pop()
        yield part
        of_class = part is node and isinstance(node, ast.ClassDef)
        inner = ast.iter_child_nodes(part)
        left += [part for part in inner if not (of_class and isinstance(part, ast.FunctionDef))]


@functools.cache
def words_of(key: str, but_of: str = "") -> list[str]:
    """The strings in a definition, … for what is filled in, without docstrings and what a call of `but_of` is given."""
    parts = list(parts_of(key))
    calls = [part for part in parts if isinstance(part, ast.Call) and getattr(part.func, "id", "") == but_of]
    left_out = {id(inner) for call in calls for inner in ast.walk(call)}
    left_out |= {id(part.value) for part in parts if isinstance(part, ast.Expr)}
    joined = [part for part in parts if isinstance(part, ast.JoinedStr) and id(part) not in left_out]
    left_out |= {id(inner) for part in joined for inner in ast.walk(part)}
    texts = ["".join(p.value if isinstance(p, ast.Constant) else "…" for p in part.values) for part in joined]
    plain = [part for part in parts if isinstance(part, ast.Constant) and id(part) not in left_out]
    return texts + [part.value for part in plain if isinstance(part.value, str)]
