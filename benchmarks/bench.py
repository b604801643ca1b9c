"""Every stage where people wait, in one table: what one would write, what the project does, the machine's limit.

    python benchmarks/bench.py [--quick] [--stages Neighbors Captions] [--write]

The two ways of a stage take turns, in two processes of their own, and their medians are compared. The machine's limits
are measured in the same run. Seconds belong to this machine; ratios and shares of the limit tell more.
"""

import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from clipknight.errors import user_errors
from clipknight.messages import a_few
from clipknight.ranges import PositiveFew
from clipknight.settings import parse

from machine_measures import hardware
from marked_tables import table, write_between_marks

ROUNDS, ROUNDS_OF_LONG = 5, 3  # of a stage, and of one that takes long
WAYS = "plain", "ours"


@dataclass(frozen=True)
class Settings:
    """Settings of bench.py"""

    quick: bool = False
    """less of everything, in minutes"""
    stages: list[str] = field(default_factory=list)
    """the stages to measure, by the names of their classes in benchmarks/stages; by default all of them"""
    rounds: PositiveFew = ROUNDS
    """times each way is measured"""
    write: bool = False
    """put the table into benchmarks/README.md"""


@user_errors
def main(argv=None) -> None:
    s = parse(Settings, argv, __doc__)
    from stages import STAGES

    known = {stage.__name__: stage for stage in STAGES}
    if unknown := [name for name in s.stages if name not in known]:
        raise ValueError(f"--stages: no {a_few(unknown)}; there are {', '.join(known)}")
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"CLIPKNIGHT_OUTPUTS": f"{folder}/outputs", "CLIPKNIGHT_CACHE": f"{folder}/cache"}
        os.environ["TRANSFORMERS_VERBOSITY"] = "error"  # what one would write prints more than a table needs
        text = measured([known[name] for name in s.stages] or STAGES, Path(folder), s)
    text += f"\nMeasured in {(time.perf_counter() - start) / 60:.1f} minutes{' with --quick' * s.quick}.\n"
    print(f"\n{text}")
    if s.write:
        write_between_marks("bench.py", text)


def measured(stages: list[type], folder: Path, s: Settings) -> str:
    """The machine, its limits, and a row for each stage."""
    from machine_limits import measure_limits

    limits = measure_limits(s.rounds)
    one = {"max_workers": 1, "mp_context": multiprocessing.get_context("spawn"), "initializer": prepare}
    with (
        ProcessPoolExecutor(initargs=("plain",), **one) as plain,
        ProcessPoolExecutor(initargs=("ours",), **one) as ours,
    ):
        rows = []
        for stage in stages:
            print(f"{stage.name} ...", flush=True)
            rounds = s.rounds if not stage.is_long else ROUNDS_OF_LONG
            rounds = (1 if stage.is_long else 2) if s.quick else rounds
            rows.append(row_of(stage, (plain, ours), folder, s.quick, rounds, limits))
    header = ["stage", "what one would write", "a second", "clipknight", "ratio", "limit", "share of the limit"]
    return "\n".join([f"On {hardware()}:\n", *limits.lines(), "", *table(header, rows)]) + "\n"


def row_of(stage: type, processes, folder: Path, quick: bool, rounds: int, limits) -> list[str]:
    """The stage's cells: its ways by turns, each in its process."""
    ways = {way: process for way, process in zip(WAYS, processes) if stage.written or way == "ours"}
    for way, process in ways.items():
        process.submit(build, stage, folder / f"{stage.__name__}-{way}", quick).result()
        if stage.warms_up:
            process.submit(timed).result()
    seconds = {way: [] for way in ways}
    for _ in range(rounds):
        for way, process in ways.items():
            seconds[way].append(process.submit(timed).result())
    medians = {way: statistics.median(measured) for way, measured in seconds.items()}
    least, items = ways["ours"].submit(least_seconds, limits).result(), ways["ours"].submit(item_count).result()
    plain = shown(medians["plain"], items, stage.unit) if stage.written else "–"
    ratio = f"{medians['plain'] / medians['ours']:.1f}" if stage.written else "–"
    ours, limit = (shown(measured, items, stage.unit) for measured in (medians["ours"], least))
    share = f"{least / medians['ours']:.0%}"
    return [stage.name, stage.written or "–", plain, ours, ratio, f"{stage.bound_by}: {limit}", share]


def shown(seconds: float, items: int, unit: str) -> str:
    """Items a second; or the seconds of what has no items."""
    if not unit:
        return f"{seconds:.2f} s"
    rate = items / seconds
    return f"{rate:,.0f} {unit}" if rate >= 20 else f"{rate:.1f} {unit}"


def prepare(way: str) -> None:
    """A process for one way: ours begins as each command does."""
    global timed_way
    timed_way = way
    multiprocessing.set_start_method(None, force=True)  # the platform's, as in a command: a spawned process spawns
    if way == "ours":
        from clipknight.preparation import prepare_process

        prepare_process()


def build(stage: type, folder: Path, quick: bool) -> None:
    global built
    folder.mkdir()
    built = stage(folder, quick)


def timed() -> float:
    """Seconds of all items, where the plain way does a part of them."""
    start = time.perf_counter()
    getattr(built, timed_way)()
    seconds = time.perf_counter() - start
    return seconds * built.items / built.plain_items if timed_way == "plain" and built.plain_items else seconds


def least_seconds(limits) -> float:
    return built.least_seconds(limits)


def item_count() -> int:
    return built.items


if __name__ == "__main__":
    main()
