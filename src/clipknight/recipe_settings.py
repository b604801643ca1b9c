"""What a recipe accepts, without what it computes with: its settings stand above the imports of its parts."""

import ast
import functools
import sys
from importlib.abc import InspectLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import CodeType, ModuleType


class _SettingsLoader(InspectLoader):
    """Loads a recipe down to its first `if __name__ == "__main__"`."""

    def __init__(self, recipe: Path):
        self.recipe = recipe

    def get_source(self, fullname: str) -> str:
        source = self.recipe.read_text(encoding="utf-8")
        first = next((node.lineno for node in ast.parse(source).body if _asks_for_main(node)), None)
        return source if first is None else "\n".join(source.split("\n")[: first - 1])

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.get_source(fullname), str(self.recipe))


@functools.cache
def settings_part(recipe: Path) -> ModuleType:
    """The recipe down to its first `if __name__ == "__main__"`, as a module of its own: `Settings`, or `COMMANDS`."""
    loader = _SettingsLoader(recipe)
    module = module_from_spec(spec_from_loader(f"{recipe.stem}'s settings", loader))
    module.__file__ = str(recipe)
    sys.modules[module.__name__] = module  # where dataclasses and typing look up what a class is made with
    loader.exec_module(module)
    return module


def _asks_for_main(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'"
