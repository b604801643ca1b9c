"""What a wheel holds besides the package: the commands and the starter weights, which lie elsewhere in a checkout.

All else is in pyproject.toml.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

CARRIED = ("src/*.py", "input/models/starter/**/*")
PLACES = {"src": "recipes", "input": "input"}  # where their folders are in the package


class BuildWithRecipes(build_py):
    """Copies what is CARRIED into the package, but for an editable install, which finds it where it lies."""

    def run(self):
        super().run()
        if self.editable_mode:
            return
        for name in PLACES.values():  # an earlier build may have left a command that is gone by now
            shutil.rmtree(Path(self.build_lib, "clipknight", name), ignore_errors=True)
        for file in carried():
            first, *rest = file.parts
            place = Path(self.build_lib, "clipknight", PLACES[first], *rest)
            self.mkpath(str(place.parent))
            self.copy_file(str(file), str(place))


def carried() -> list[Path]:
    return sorted(path for pattern in CARRIED for path in Path().glob(pattern) if path.is_file())


setup(cmdclass={"build_py": BuildWithRecipes})
