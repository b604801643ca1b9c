"""What a user of the page sees of an error: their file's fault in one line, or that the program has one."""

import re
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path

from clipknight.errors import EXPECTED, EXTRAS, LONGEST, install, message_of
from clipknight.messages import cut

BUG = "This is a fault of the program, not of your files. The terminal that it was started from says where."


@dataclass(frozen=True)
class Fault:
    """One line for the page; `is_bug` where no user can mend it."""

    text: str
    is_bug: bool = False


def fault_of(error: Exception, folder: str | Path) -> Fault:
    """What to say of `error`; names of files lose the temporary `folder` that they lie in. A bug is printed whole."""
    if isinstance(error, ModuleNotFoundError) and (package := (error.name or "").partition(".")[0]) in EXTRAS:
        return Fault(f"This needs {package}, which is not installed here: {install(package)}")
    if isinstance(error, MemoryError):
        return Fault("That is too large for this machine's memory: give something smaller.")
    if isinstance(error, EXPECTED):
        return Fault(cut(without_folder(message_of(error), folder), LONGEST))
    traceback.print_exception(error, file=sys.stderr)
    return Fault(BUG, is_bug=True)


def without_folder(text: str, folder: str | Path) -> str:
    """`text` without the path of `folder`, and the subfolders named by digits that uploads lie in."""
    return re.sub(rf"{re.escape(str(folder))}/(?:[\w.-]*[0-9a-f]{{12,}}/)*", "", text)
