"""Several processes of one training, as `accelerate launch` or `torchrun` start them: who writes, and waiting."""

import os
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

# Longer than the slowest step that others wait for: NCCL's own ten minutes end an encoding of a large dataset.
LONGEST_WAIT = timedelta(days=2)


def process_count() -> int:
    """How many processes `accelerate launch` or `torchrun` started together."""
    return int(os.environ.get("WORLD_SIZE", 1))


def process_index() -> int:
    """Which of them this one is, from 0."""
    return int(os.environ.get("RANK", 0))


def in_main_process() -> bool:
    """Whether this process writes: the first of them, or the only one."""
    return process_index() == 0


def own_device(cpu: bool) -> "torch.device":
    """Join the other processes, and this process's own device: a GPU for itself, or the CPU."""
    from accelerate import PartialState

    return PartialState(cpu=cpu, timeout=LONGEST_WAIT).device


def wait_for_everyone() -> None:
    """Until all started processes are here; nothing where there is one."""
    if process_count() > 1:
        import torch
        from accelerate import PartialState

        own_device(cpu=not torch.cuda.is_available())  # where no model was loaded before, which decides the device
        PartialState().wait_for_everyone()


def of_main_process(value: Callable[[], T]) -> T:
    """What `value()` gives in the main process, in every process: the others do not call it."""
    if process_count() == 1:
        return value()
    from accelerate.utils import broadcast_object_list

    wait_for_everyone()
    return broadcast_object_list([value() if in_main_process() else None])[0]


def of_all_processes(values: list) -> list:
    """The `values` of all processes in one list, in the processes' order, in every process."""
    if process_count() == 1:
        return values
    from accelerate.utils import gather_object

    wait_for_everyone()
    return gather_object(values)


def stretches_of(rows: int, batch_size: int) -> list[tuple[int, int]]:
    """(start, stop) of the rows of each process: nearly equally many whole batches, the last one's may be short."""
    batches, count = -(-rows // batch_size), process_count()
    bounds = [min(rows, batches * i // count * batch_size) for i in range(count + 1)]
    return list(zip(bounds, bounds[1:]))
