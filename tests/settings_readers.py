"""Which settings a script reads, found in its source: an attribute of what `parse` gave, there or in what it calls.

What cannot be followed counts as unread, so a field that is found is read indeed.
"""

import ast
import functools
import importlib
import inspect
import textwrap
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import TypeVar


def parsed_settings(module: ModuleType) -> Iterator[tuple[type, set[str]]]:
    """Each settings class that a function or a command of the script takes, and the fields that are read of it."""
    for name, command in getattr(module, "COMMANDS", {}).items():
        score = module.SCORES[name]
        (parameter,) = inspect.signature(score).parameters
        yield command.settings, set(_read(score, parameter, command.settings, set()))
    for function in vars(module).values():
        function = inspect.unwrap(function) if callable(function) else function
        if inspect.isfunction(function) and function.__module__ == module.__name__:
            for node in ast.walk(_tree(function)):
                if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
                    if getattr(node.value.func, "id", "") == "parse" and isinstance(node.targets[0], ast.Name):
                        settings = _resolved(node.value.args[0], function)
                        yield settings, set(_read(function, node.targets[0].id, settings, set()))


def _read(function: Callable, variable: str, settings: type, seen: set) -> Iterator[str]:
    """Attributes of `variable` that the function reads, and those that the functions read to which it is passed."""
    if (function, variable) in seen:
        return
    seen.add((function, variable))
    for node in ast.walk(_tree(function)):
        if isinstance(node, ast.Attribute) and _is(node.value, variable, function):
            yield node.attr
            if isinstance(found := inspect.getattr_static(settings, node.attr, None), property):
                yield from _read(found.fget, "self", settings, seen)
        elif isinstance(node, ast.Call):
            for callee, parameter in _passed_to(node, variable, function):
                yield from _read(callee, parameter, settings, seen)
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and _is(node.value, variable, function):
            yield from _read(function, node.targets[0].id, settings, seen)


def _passed_to(call: ast.Call, variable: str, function: Callable) -> Iterator[tuple[Callable, str]]:
    positions = [i for i, argument in enumerate(call.args) if _is(argument, variable, function)]
    keywords = [keyword.arg for keyword in call.keywords if _is(keyword.value, variable, function)]
    if not positions and not keywords:
        return
    callee = _resolved(call.func, function)
    if callee is functools.partial:
        callee, positions = _resolved(call.args[0], function), [i - 1 for i in positions]
    if inspect.isclass(callee):
        callee = callee.__init__
        positions = [i + 1 for i in positions]
    ours = (function.__module__.partition(".")[0], "clipknight")
    if not callable(callee) or str(getattr(callee, "__module__", "")).partition(".")[0] not in ours:
        return
    names = list(inspect.signature(callee).parameters)
    plain = inspect.unwrap(getattr(callee, "__func__", callee))
    for name in [*(names[i] for i in positions if i < len(names)), *keywords]:
        yield plain, name


def _resolved(node: ast.expr, function: Callable):
    """What a name in the function stands for; None for one that is only known when it runs."""
    if isinstance(node, ast.Attribute):
        return getattr(_resolved(node.value, function), node.attr, None)
    name = getattr(node, "id", "")
    for late in ast.walk(_tree(function)):
        if isinstance(late, ast.ImportFrom) and any(name == alias.name for alias in late.names):
            return getattr(importlib.import_module(late.module), name)
    return function.__globals__.get(name)


def _is(node: ast.expr, variable: str, function: Callable) -> bool:
    """Whether it stands for the settings: their name, or a call that gives back settings of the type that it takes."""
    if isinstance(node, ast.Call) and any(_is(argument, variable, function) for argument in node.args):
        callee = _resolved(node.func, function)
        return inspect.isfunction(callee) and isinstance(inspect.signature(callee).return_annotation, TypeVar)
    return isinstance(node, ast.Name) and node.id == variable


@functools.cache
def _tree(function: Callable) -> ast.Module:
    return ast.parse(textwrap.dedent(inspect.getsource(function)))
