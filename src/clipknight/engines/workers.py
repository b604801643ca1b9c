"""Work in parts: each worker makes itself ready once, then does one part after the other.

What a part gives depends on the part alone, so it is the same by any engine, in any number of workers, in any order.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from clipknight.preparation import wanted_engine

LEAST_ROWS, MOST_PARTS = 4096, 4096  # of a part, unless there are few rows; of all parts, unless there are many


class Place(NamedTuple):
    """Where a worker is: the device it computes on, and how many processes read for it."""

    device: str
    readers: int


class Work(Protocol):
    """What is done to each part. It is pickled, and sent to each worker once."""

    def ready(self, place: Place) -> Callable[[Any], Any]:
        """What gives the result of a part; models are loaded, or moved to the device, here."""
        ...


def results(work: Work, parts: Sequence, numbers: Sequence[int], readers: int) -> Iterator[tuple[int, Any]]:
    """The number and the result of each of `parts` that `numbers` names, as they come.

    `readers` processes read for this process, or for a worker that has a GPU. Errors of the work are raised here. One
    part is done by this process.
    """
    engine = wanted_engine()
    if engine.name == "ray" and len(numbers) > 1:
        from clipknight.engines.ray_workers import ray_results

        yield from ray_results(work, parts, numbers, readers, engine)
        return
    do = work.ready(Place(engine.device, readers))
    for number in numbers:
        yield number, do(parts[number])


def stretches(rows: int, batch_size: int) -> list[tuple[int, int]]:
    """(start, stop) of the parts of so many rows: whole batches, and the same whatever the workers."""
    size = max(min(rows // 64, LEAST_ROWS), rows // MOST_PARTS, 1)
    size = -(-size // batch_size) * batch_size
    return [(start, min(start + size, rows)) for start in range(0, rows, size)]
