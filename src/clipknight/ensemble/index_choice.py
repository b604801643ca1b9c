"""Which index suits so many keys and this machine: `--index auto`."""

import psutil

EXACT_ROWS = 200_000  # a thousand queries among them take a second or two
RAM_ROWS = 2_000_000  # an index of more takes long to build again after each kill
GIB = 2**30


def choose_index(rows: int, dim: int, free: int | None = None) -> tuple[str, str]:
    """The kind of index for keys (rows, dim), and why, where `free` bytes of memory are: by default those there are."""
    free = psutil.virtual_memory().available if free is None else free
    keys = f"{rows:,} keys of {dim}"
    if rows <= EXACT_ROWS:
        return "exact", f"{keys} are few enough to compare with all"
    whole, bytes_alone = 4 * dim * rows, (dim + 8) * rows
    there = f"{free / GIB:.1f} GiB of memory are free"
    if rows <= RAM_ROWS and 2 * whole <= free:
        return "ivf", f"a second copy of {keys} takes {whole / GIB:.1f} GiB, and {there}"
    if bytes_alone <= free:
        return "ivf_sq8", f"{keys} as bytes on disk take {bytes_alone / GIB:.1f} GiB, and {there} to keep them at hand"
    return "ivf_pq", f"{keys} even as bytes take {bytes_alone / GIB:.1f} GiB, and only {there}"


def resolved_index(kind: str, rows: int, dim: int) -> str:
    """`kind` itself, or for "auto" the one that is chosen, and the reason is printed."""
    if kind != "auto":
        return kind
    chosen, reason = choose_index(rows, dim)
    print(f"index {chosen}: {reason}")
    return chosen
