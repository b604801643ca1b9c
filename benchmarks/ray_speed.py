"""How much faster workers of Ray on this machine encode photographs than one of them, each with one thread.

    python benchmarks/ray_speed.py --photos input/flickr8k/Images --count 1024 --workers 1 2 1 2

Each line is a fresh process with a cluster of its own. Counted is from the moment when every worker has done a part,
for until then they start, import libraries and load the model; that time is printed beside it.
"""

import multiprocessing
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

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
    encoder: str = "lite2-minilm@224"
    """what encodes"""
    part: int = 64
    """pictures of a part"""


@dataclass(frozen=True)
class Timed:
    """The work of parts; each gives how many pictures it had and the worker's seconds of CPU."""

    work: object

    def ready(self, place):
        rows_of = self.work.ready(place)

        def timed(part):
            start = time.process_time()
            return len(rows_of(part).ids), time.process_time() - start

        return timed


def main(argv=None) -> None:
    s = parse(Settings, argv, __doc__)
    for workers in s.workers:
        with multiprocessing.get_context("spawn").Pool(1) as process:
            print(process.apply(measured, (s, workers)), flush=True)


def measured(s: Settings, workers: int) -> str:
    """What one run found, as a line."""
    from clipknight.data.picture_parts import picture_parts
    from clipknight.embedding.clip import load_clip
    from clipknight.embedding.rows_in_parts import OpenEncoder, PictureRows
    from clipknight.engines import cluster
    from clipknight.engines.workers import results
    from clipknight.preparation import Engine, prepare_process

    import ray

    ray.cloudpickle.register_pickle_by_value(sys.modules[Timed.__module__])  # workers do not find this file
    cluster.CORES = workers
    prepare_process("torch", Engine("ray", device="cpu"))
    pieces = [(start, start + s.part) for start in range(0, s.count, s.part)]
    parts = picture_parts(s.photos, lambda rows: pieces)
    work = Timed(PictureRows(OpenEncoder(load_clip(s.encoder, "cpu", "fp32")), s.part, False))
    start, driver, pictures, cpu, warm = time.perf_counter(), time.process_time(), 0, 0.0, None
    for done, (_, (rows, seconds)) in enumerate(results(work, parts, range(len(parts)), 0), 1):
        if warm is not None:
            pictures, cpu = pictures + rows, cpu + seconds
        if done == workers:
            warm = time.perf_counter()
    took = time.perf_counter() - warm
    return (
        f"{workers} workers: {pictures / took:.1f} pictures a second ({pictures} in {took:.1f} s), "
        f"{1000 * cpu / pictures:.1f} ms of a worker's CPU each; before that {warm - start:.1f} s; "
        f"this process {time.process_time() - driver:.1f} s of CPU; load {os.getloadavg()[0]:.1f}"
    )


if __name__ == "__main__":
    main()
