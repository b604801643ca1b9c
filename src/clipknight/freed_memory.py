"""Lets the process keep the memory that its arrays leave, where the C library is glibc.

By default glibc maps each array above 32 MiB anew and gives it back when it is freed. A model's activations on a CPU
are such arrays, in every batch, and the kernel spends up to half of the time zeroing their pages. Kept, they make
encoding and training up to twice as fast (benchmarks/encoding_speed.py), for a process that stays as large as it was.
"""

import ctypes
import functools

TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4  # mallopt's parameters, as in glibc's malloc.h


@functools.cache
def keep_freed_memory() -> bool:
    """Tell malloc so, once; False where it cannot be told (macOS, Windows, musl)."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    wanted = {MMAP_MAX: 0, TRIM_THRESHOLD: 2**31 - 1, TOP_PAD: 2**26}
    return all([mallopt(parameter, value) for parameter, value in wanted.items()])
