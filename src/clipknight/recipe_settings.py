"""What a recipe accepts, without what it computes with: its settings stand above the imports of its parts."""

import ast
import functools
import sys
from itertools import takewhile
from pathlib import Path
from types import ModuleType


@functools.cache
def settings_part(recipe: Path) -> ModuleType:
    """The recipe down to its first `if __name__ == "__main__"`, as a module of its own: `Settings`, or `COMMANDS`."""
    source = ast.parse(recipe.read_text(encoding="utf-8"), str(recipe))
    source.body = list(takewhile(lambda node: not _asks_for_main(node), source.body))
    module = ModuleType(f"{recipe.stem}'s settings", ast.get_docstring(source))
    module.__file__ = str(recipe)
    sys.modules[module.__name__] = module  # where dataclasses and typing look up what a class is made with
    exec(compile(source, str(recipe), "exec"), vars(module))
    return module


def _asks_for_main(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'"
