"""Ray itself: started here or found at an address, and how its cores and GPUs are shared out among workers."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from clipknight.devices import CORES
from clipknight.messages import counted, shortened
from clipknight.paths import CACHE, OUTPUTS, caches, outputs
from clipknight.waiting import waiting

SOURCE = Path(__file__).resolve().parents[2]  # where workers import this package from


class Shares(NamedTuple):
    """How many `workers` there are, and what each has: threads to compute with, a GPU or none, processes that read."""

    workers: int
    threads: int
    gpus: int
    readers: int

    def __str__(self) -> str:
        return f"Ray: {counted(self.workers, 'worker')}, " + (
            "a GPU each" if self.gpus else f"{counted(self.threads, 'thread')} each"
        )


def connect(address: str) -> None:
    """Join the cluster at `address`, or start one here, which ends with this process; once. OSError."""
    import ray

    if ray.is_initialized():  # by an earlier step, or by a program that uses the package
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
    joined = {"runtime_env": {"env_vars": _environment()}}
    started = {"num_cpus": CORES, "include_dashboard": False}
    options = {"log_to_driver": False, "logging_level": "error", **(joined if address else started)}
    with waiting(f"joining the Ray cluster at {address}" if address else "starting Ray"):
        for last in (bool(address), True):  # a start may take 30 seconds, too few on a busy machine
            try:
                with _inherited(_environment()):  # where Ray starts here; there is no runtime_env to wait for
                    ray.init(address or "local", **options)
                return
            except Exception as error:  # Ray's own, grpc's, and those of sockets
                ray.shutdown()
                if last:
                    where = f"no Ray cluster answers at {address}" if address else "Ray does not start here"
                    # Ray itself sends this machine's token to the address "auto" alone.
                    token = "; set RAY_AUTH_MODE=token if it asks for one" if address not in ("", "auto") else ""
                    raise OSError(f"{where} ({shortened(error, 200)}): `ray status` says what runs{token}") from error


def _environment() -> dict[str, str]:
    """What workers find where this command does, on a disk that the machines share: the package, outputs, caches."""
    return {"PYTHONPATH": str(SOURCE), OUTPUTS: str(outputs()), CACHE: str(caches())}


@contextmanager
def _inherited(variables: dict[str, str]) -> Iterator[None]:
    """Environment variables of this process, and of what it starts, while the block runs."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def shares_of(device: str, readers: int) -> Shares:
    """A worker for each GPU of the cluster, where `device` allows one; else for as many cores as torch has threads.

    A worker computes with as many threads as the command itself would: with others, sums might differ in a last bit.
    ValueError where no machine has so many cores.
    """
    import ray
    import torch

    machines = [machine["Resources"] for machine in ray.nodes() if machine["Alive"]]
    threads = torch.get_num_threads()
    gpus = sum(int(machine.get("GPU", 0)) for machine in machines)
    if gpus and device not in ("cpu", "mps"):
        cores = min(int(machine.get("CPU", 1) // machine["GPU"]) for machine in machines if machine.get("GPU"))
        return Shares(gpus, threads, 1, min(readers, cores))
    count = sum(int(machine.get("CPU", 0) // threads) for machine in machines)
    if not count:
        most = max((int(machine.get("CPU", 0)) for machine in machines), default=0)
        raise ValueError(
            f"a worker has {threads} threads, as this command has, and no machine of the cluster has more than {most} "
            f"cores: set the environment variable OMP_NUM_THREADS={max(1, most)}"
        )
    return Shares(count, threads, 0, 0)
