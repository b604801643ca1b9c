"""What a command changes for its whole process, in one place: `main` asks for it, importing the package does not.

By default glibc maps each array above 32 MiB anew and gives it back when it is freed. A model's activations on a CPU
are such arrays, in every batch, and the kernel spends up to half of the time zeroing their pages. Kept, they make
encoding and training up to twice as fast (benchmarks/encoding_speed.py), for a process that stays as large as it was.
"""

import ctypes
import functools
import os
import sys
import warnings

TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4  # mallopt's parameters, as in glibc's malloc.h


def prepare_process() -> None:
    """Keep freed memory, and keep libraries from printing what is no news to a user. Twice does no harm."""
    keep_freed_memory()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # tokenizers warn and deadlock when loaders fork
    warnings.filterwarnings("ignore", module=r"torch\._weights_only_unpickler")  # of a pickle that is refused anyway
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # loading MiniLM without its unused pooler is no news
    if "transformers" in sys.modules:  # which has read its variable already
        import transformers

        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()


@functools.cache
def keep_freed_memory() -> bool:
    """Tell malloc so, once; False where it cannot be told (macOS, Windows, musl)."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    wanted = {MMAP_MAX: 0, TRIM_THRESHOLD: 2**31 - 1, TOP_PAD: 2**26}
    return all([mallopt(parameter, value) for parameter, value in wanted.items()])
