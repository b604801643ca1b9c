"""Work in parts by Ray's actors: Ray starts those anew that die, and does their parts again.

A part is sent as a worker becomes free for it, and its result is taken before that worker gets another: no more than
the workers hold is under way.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from clipknight.engines.cluster import Shares, connect, shares_of
from clipknight.engines.workers import Place, Work
from clipknight.messages import shortened
from clipknight.preparation import Engine, prepare_process, wanted_backend

ATTEMPTS = 3  # more at a part whose worker died: a picture that ends the process would end one worker after the other
_started: dict[tuple, list] = {}  # this command's workers, by what they were started for


class Worker:
    """Ray's actor: it holds one work, made ready by the first of its parts."""

    def __init__(self, threads: int, place: Place, backend: str):
        import torch

        prepare_process(backend)
        torch.set_num_threads(threads)
        self.place, self.work, self.do = place, None, None

    def result(self, sent: list, number: int, part) -> tuple[int, Any]:
        import ray

        if self.work != sent[0]:
            self.do = None  # first: two models at once may be more than there is memory for
            self.work, self.do = sent[0], ray.get(sent[0]).ready(self.place)
        return number, self.do(part)


def ray_results(
    work: Work, parts: Sequence, numbers: Sequence[int], readers: int, engine: Engine
) -> Iterator[tuple[int, Any]]:
    """As `workers.results`. ValueError where no machine has enough cores; OSError for a worker that dies repeatedly."""
    connect(engine.address)
    import ray
    from ray.util import ActorPool

    workers = _workers(shares_of(engine.device, readers), engine.device)
    sent = [ray.put(work)]  # once; it is there for workers that start anew as long as this list is
    try:
        yield from ActorPool(workers).map_unordered(lambda worker, i: worker.result.remote(sent, i, parts[i]), numbers)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
    except ray.exceptions.RayError as error:
        _end_workers()
        raise ChildProcessError(
            f"a worker of Ray ended {1 + ATTEMPTS} times at one part, perhaps for lack of memory "
            f"({shortened(error, 160)}): finished parts stay, and the same command goes on after them"
        ) from error


def _workers(shares: Shares, device: str) -> list:
    """The workers of the work before, or new ones: each takes seconds to start."""
    import ray

    place, backend = Place(device, shares.readers), wanted_backend()
    if (kind := (shares, place, backend)) not in _started:
        _end_workers()
        print(shares, flush=True)
        options = {"num_gpus": 1} if shares.gpus else {"num_cpus": shares.threads}
        actor = ray.remote(Worker).options(max_restarts=-1, max_task_retries=ATTEMPTS, **options)
        _started[kind] = [actor.remote(shares.threads, place, backend) for _ in range(shares.workers)]
    return _started[kind]


def _end_workers() -> None:
    import ray

    while _started:
        for worker in _started.popitem()[1]:
            ray.kill(worker)
