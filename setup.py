"""What a wheel holds besides the package: the commands and the starter weights, which lie elsewhere in a checkout.

All else is in pyproject.toml.
"""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

CARRIED = ("src/*.py", "input/models/starter/**/*")
PLACES = {"src": "recipes"}  # in the package; other folders keep their names


class BuildWithRecipes(build_py):
    """Copies what is CARRIED into the package, but for an editable install, which finds it where it lies."""

    def run(self):
        super().run()
        for file in () if self.editable_mode else carried():
            first, *rest = file.parts
            place = Path(self.build_lib, "clipknight", PLACES.get(first, first), *rest)
            self.mkpath(str(place.parent))
            self.copy_file(str(file), str(place))


def carried() -> list[Path]:
    return sorted(path for pattern in CARRIED for path in Path().glob(pattern) if path.is_file())


setup(cmdclass={"build_py": BuildWithRecipes})
