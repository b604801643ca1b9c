"""What a command changes for its whole process, in one place: `main` asks for it, importing the package does not.

By default glibc maps each array above 32 MiB anew and gives it back when it is freed. A model's activations on a CPU
are such arrays, in every batch, and the kernel spends up to half of the time zeroing their pages. Kept, they make
encoding and training up to twice as fast (benchmarks/encoding_speed.py), for a process that stays as large as it was.
"""

import ctypes
import functools
import gc
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.util import find_spec
from typing import NamedTuple

TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4  # mallopt's parameters, as in glibc's malloc.h


class Engine(NamedTuple):
    """What does work in many equal parts: "local" or "ray", the address of Ray's cluster, and on which device."""

    name: str = "local"
    address: str = ""
    device: str = "auto"


LOCAL = Engine()
_backend: ContextVar[str] = ContextVar("backend", default="torch")
_engine: ContextVar[Engine] = ContextVar("engine", default=LOCAL)


def prepare_process(backend: str = "torch", engine: Engine = LOCAL) -> None:
    """Keep freed memory, and keep libraries from printing what is no news to a user. Twice does no harm.

    `backend`, one of BACKENDS, is to run the encoders of this command (clipknight/embedding/backends.py), `engine` to
    do its work in parts (clipknight/engines). ModuleNotFoundError where it is not installed.
    """
    if engine.name == "ray" and find_spec("ray") is None:
        raise ModuleNotFoundError("No module named 'ray'", name="ray")
    _backend.set(backend)
    _engine.set(engine)
    keep_freed_memory()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # tokenizers warn and deadlock when loaders fork
    warnings.filterwarnings("ignore", module=r"torch\._weights_only_unpickler")  # of a pickle that is refused anyway
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # loading MiniLM without its unused pooler is no news
    if "transformers" in sys.modules:  # which has read its variable already
        import transformers

        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()


def imports_begin() -> None:
    """Look for no garbage while parts are imported: there is none, and looking takes a sixth of the time."""
    gc.disable()


def imports_end() -> None:
    """Look for garbage again after `imports_begin`, but never among what was imported.

    At the end of a command Python would go through all of it, for a second and a half.
    """
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


def wanted_backend() -> str:
    """What is to run encoders: the command's setting, or that of `encoding_by`; torch where nobody chose."""
    return _backend.get()


def wanted_engine() -> Engine:
    """What is to do work in parts: the command's setting; this process where nobody chose."""
    return _engine.get()


@contextmanager
def encoding_by(backend: str) -> Iterator[None]:
    """Have encoders run by `backend` while the block runs, in this thread."""
    before = _backend.set(backend)
    try:
        yield
    finally:
        _backend.reset(before)


@functools.cache
def keep_freed_memory() -> bool:
    """Tell malloc so, once; False where it cannot be told (macOS, Windows, musl)."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    wanted = {MMAP_MAX: 0, TRIM_THRESHOLD: 2**31 - 1, TOP_PAD: 2**26}
    return all([mallopt(parameter, value) for parameter, value in wanted.items()])
