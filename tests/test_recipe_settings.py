"""A recipe's settings without its parts."""

from clipknight.recipe_settings import settings_part

RECIPE = '''"""A recipe."""
from dataclasses import dataclass

@dataclass
class Settings:
    """Its settings"""
    run: str = "a"
    """name"""

if __name__ == "__main__":
    raise SystemExit("called")

import no_such_part
'''


def test_what_stands_below_the_first_call_is_not_run(tmp_path):
    (tmp_path / "recipe.py").write_text(RECIPE, encoding="utf-8")
    part = settings_part(tmp_path / "recipe.py")
    assert part.__doc__ == "A recipe." and part.Settings().run == "a" and not hasattr(part, "no_such_part")
