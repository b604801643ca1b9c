"""Several processes of one training, as `accelerate launch` or `torchrun` start them: who writes, and waiting."""

import os


def in_main_process() -> bool:
    """Whether this process writes: the first that `accelerate launch` or `torchrun` started, or the only one."""
    return int(os.environ.get("RANK", 0)) == 0


def wait_for_everyone() -> None:
    """Until all started processes are here; nothing where there is one."""
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        import torch
        from accelerate import PartialState

        PartialState(cpu=not torch.cuda.is_available()).wait_for_everyone()
