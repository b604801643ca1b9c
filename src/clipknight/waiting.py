"""What is being waited for: a bar, or a line on the terminal, which goes when the wait is over.

A file gets no such lines.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tqdm import tqdm

SHOWN_AFTER = 2.0  # seconds until a bar is shown
CLEARED = "\r\x1b[K"  # back to the line's start, and what stands there away
_shown = False
_hidden: ContextVar[bool] = ContextVar("hidden", default=False)


@contextmanager
def without_progress() -> Iterator[None]:
    """Show no bar and no wait while the block runs."""
    before = _hidden.set(True)
    try:
        yield
    finally:
        _hidden.reset(before)


def progress_bar(*args, disable: bool = False, **options) -> "tqdm":
    """tqdm's bar, unless it is to be hidden."""
    from tqdm import tqdm  # late: --help needs none

    return tqdm(*args, disable=disable or _hidden.get(), **options)


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Show `what` takes so long, such as "loading the encoder", while the block runs."""
    show_wait(what)
    try:
        yield
    finally:
        clear_wait()


def show_wait(what: str) -> None:
    """Show it until `clear_wait`."""
    global _shown
    clear_wait()
    if sys.stderr is not None and sys.stderr.isatty() and not _hidden.get():
        print(f"{what} …", end="", file=sys.stderr, flush=True)
        _shown = True


def clear_wait() -> None:
    """Take away what `show_wait` shows, if anything."""
    global _shown
    if _shown:
        print(CLEARED, end="", file=sys.stderr, flush=True)
        _shown = False
