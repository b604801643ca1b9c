"""The command `clipknight`: `clipknight caption photo.jpg` runs the recipe caption.py, from a wheel or a checkout.

`python -m clipknight` does the same.
"""

import ast
import difflib
import runpy
import sys

from clipknight.messages import commands_are, shortened
from clipknight.paths import RECIPES, recipes

USAGE = "usage: clipknight COMMAND [--setting value ...]"


def main() -> None:
    """Run the recipe that the first word names, with the other words. SystemExit for what is no command."""
    files = recipes()
    command, *words = sys.argv[1:] or [""]
    if command in ("", "-h", "--help"):
        listed = "\n".join(f"  {name:<16} {_first_line(file)}" for name, file in files.items())
        print(f"{USAGE}\n\n{listed}\n\nEach explains itself with --help.")
        return
    if command not in files:
        near = difflib.get_close_matches(command[:100], files, n=1)
        remedy = f"do you mean {near[0]}?" if near else "clipknight --help lists them"
        raise SystemExit(f"error: no command is called {shortened(command)}; {remedy}")
    commands_are(files)
    recipe = str(files[command])
    sys.path.insert(0, str(RECIPES))  # as `python recipe` does
    sys.argv = [recipe, *words]
    runpy.run_path(recipe, run_name="__main__")


def _first_line(recipe) -> str:
    return (ast.get_docstring(ast.parse(recipe.read_text(encoding="utf-8"))) or "").partition("\n")[0]


if __name__ == "__main__":
    main()
