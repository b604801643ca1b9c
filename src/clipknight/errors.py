"""What a script's user sees of a mistake: one line instead of a traceback."""

import functools
from collections.abc import Callable

EXPECTED = (ValueError, KeyError, FileNotFoundError, FileExistsError, NotADirectoryError, ConnectionError)


def user_errors(main: Callable) -> Callable:
    """End the program with the message of an error that names its own remedy; others keep their traceback."""

    @functools.wraps(main)
    def wrapped(argv=None):
        try:
            return main(argv)
        except EXPECTED as error:
            message = error.args[0] if isinstance(error, KeyError) and error.args else error
            raise SystemExit(f"error: {message}") from error

    return wrapped
