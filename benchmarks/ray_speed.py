"""How much faster workers of Ray on this machine encode photographs than one of them, each with one thread.

    python benchmarks/ray_speed.py --photos input/flickr8k/Images --count 1024 --workers 1 2 1 2 --plain

Each line is a fresh process with a cluster of its own, or, with --plain, with as many processes without Ray: what the
machine gives. Counted is from the moment when every worker has done a part, for until then they start, import libraries
and load the model; that time is printed beside it.
"""

import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
os.environ["OMP_NUM_THREADS"] = "1"  # before torch: a worker has as many as this process

from clipknight.settings import parse


@dataclass(frozen=True)
class Settings:
    """Settings of ray_speed.py"""

    photos: str
    """folder of pictures"""
    count: int = 1024
    """of them, the first"""
    workers: list[int] = field(default_factory=lambda: [1, 2])
    """how many, run by run"""
    plain: bool = False
    """each run also by processes without Ray"""
    encoder: str = "lite2-minilm@224"
    """what encodes"""
    part: int = 64
    """pictures of a part"""


class Done(NamedTuple):
    """A part: who did it, how many pictures it had, and the worker's seconds of CPU."""

    worker: int
    pictures: int
    cpu: float


@dataclass(frozen=True)
class Timed:
    """The work of parts; each gives what is counted instead of its rows."""

    work: object

    def ready(self, place) -> Callable[[object], Done]:
        rows_of = self.work.ready(place)

        def timed(part) -> Done:
            start = time.process_time()
            return Done(os.getpid(), len(rows_of(part).ids), time.process_time() - start)

        return timed


def main(argv=None) -> None:
    s = parse(Settings, argv, __doc__)
    for workers in s.workers:
        for name in ["Ray", "plain"][: 1 + s.plain]:
            # Not multiprocessing.Pool, which ends its processes by SIGTERM: Ray reports that as if it had crashed.
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
                print(process.submit(measured, s, workers, name).result(), flush=True)


def measured(s: Settings, workers: int, name: str) -> str:
    """What one run found, as a line."""
    from clipknight.data.picture_parts import picture_parts
    from clipknight.embedding.clip import load_image_encoder
    from clipknight.embedding.rows_in_parts import OpenEncoder, PictureRows

    pieces = [(start, start + s.part) for start in range(0, s.count, s.part)]
    parts = picture_parts(s.photos, lambda rows: pieces)
    work = Timed(PictureRows(OpenEncoder(load_image_encoder(s.encoder, "cpu", "fp32")), s.part, False))
    start, own, counted, seen, warm = time.perf_counter(), time.process_time(), [], set(), 0.0
    for done in {"Ray": by_ray, "plain": by_processes}[name](work, parts, workers):
        if warm:
            counted.append(done)
        seen.add(done.worker)
        if not warm and len(seen) == workers:
            warm = time.perf_counter()
    took, pictures = time.perf_counter() - warm, sum(done.pictures for done in counted)
    return (
        f"{workers} {name}: {pictures / took:.1f} pictures a second ({pictures} in {took:.1f} s), "
        f"{1000 * sum(done.cpu for done in counted) / pictures:.1f} ms of a worker's CPU each; "
        f"before that {warm - start:.1f} s; this process {time.process_time() - own:.1f} s of CPU; "
        f"load {os.getloadavg()[0]:.1f}"
    )


def by_ray(work: Timed, parts: list, workers: int) -> Iterator[Done]:
    from clipknight.engines import cluster
    from clipknight.engines.workers import results
    from clipknight.preparation import Engine, prepare_process

    import ray

    ray.cloudpickle.register_pickle_by_value(sys.modules[Timed.__module__])  # workers do not find this file
    cluster.CORES = workers
    prepare_process("torch", Engine("ray", device="cpu"))
    for _, done in results(work, parts, range(len(parts)), 0):
        yield done


def by_processes(work: Timed, parts: list, workers: int) -> Iterator[Done]:
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), make_ready, (work,)) as processes:
        for future in as_completed([processes.submit(do, part) for part in parts]):
            yield future.result()


def make_ready(work: Timed) -> None:
    global do_part
    from clipknight.engines.workers import Place
    from clipknight.preparation import prepare_process

    prepare_process("torch")
    do_part = work.ready(Place("cpu", 0))


def do(part) -> Done:
    return do_part(part)


if __name__ == "__main__":
    main()
