"""Where the project's folders are, whatever folder a command is called from."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_CHECKOUT = _PACKAGE.parents[1]
IN_CHECKOUT = (_CHECKOUT / "src" / "clipknight").is_dir()
ROOT = _CHECKOUT if IN_CHECKOUT else Path.cwd()  # installed without a checkout: here
RECIPES = _CHECKOUT / "src" if IN_CHECKOUT else _PACKAGE / "recipes"  # the commands; setup.py puts them into the wheel
STARTER = "input/models/starter/knight"  # the run of packed weights, from `existing`
STARTER_NAME = "starter"  # what it is called
OUTPUTS, CACHE = "CLIPKNIGHT_OUTPUTS", "CLIPKNIGHT_CACHE"
_caches: ContextVar[str] = ContextVar("caches", default="")  # where `caches_in` has them


def recipes() -> dict[str, Path]:
    """The files of the commands by their names."""
    return {file.stem: file for file in sorted(RECIPES.glob("*.py"))}


def outputs() -> Path:
    """The folder of all that commands make; the environment variable CLIPKNIGHT_OUTPUTS names another."""
    return Path(os.environ.get(OUTPUTS) or ROOT / "outputs").absolute()


def caches() -> Path:
    """The folder of what is computed once and kept, such as embeddings: `outputs()`, unless CLIPKNIGHT_CACHE names one.

    So runs can be read from a place where nothing can be written.
    """
    return Path(_caches.get() or os.environ.get(CACHE) or outputs()).absolute()


@contextmanager
def caches_in(folder: str | Path) -> Iterator[None]:
    """Keep in `folder`, meanwhile, what this thread computes once."""
    before = _caches.set(str(folder))
    try:
        yield
    finally:
        _caches.reset(before)


def caches_last() -> bool:
    """Whether what is in `caches()` stays there: not in a folder of `caches_in`."""
    return not _caches.get()


def existing(path: str | Path) -> Path:
    """`path` from the present folder, or else from the project's root or its outputs; unchanged when in none.

    `outputs/…` is among the outputs wherever they are; `input/…` may have come with the wheel.
    """
    path = Path(path)
    moved = [outputs().joinpath(*path.parts[1:])] if path.parts[:1] == ("outputs",) else []
    packaged = [_PACKAGE / path] if path.parts[:1] == ("input",) else []
    candidates = (path, ROOT / path, outputs() / path, *moved, *packaged)
    return next((candidate for candidate in candidates if candidate.exists()), path)
