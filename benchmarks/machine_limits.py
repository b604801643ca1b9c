"""How fast this machine can go at all: multiplying matrices in each precision, copying memory, decoding a JPEG."""

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from clipknight.devices import PRECISIONS

import torch

SIDE, SHORT_SIDE = 2048, 512  # of the matrices; the short one is tried first, and stays where that is slow
SLOW = 0.02  # seconds
COPIED = 2**28  # bytes


@dataclass(frozen=True)
class Limits:
    """Operations a second by precision, a multiplication and an addition being two; bytes read and written a second."""

    operations: dict[torch.dtype, float]
    memory: float

    @property
    def fastest(self) -> torch.dtype:
        """The precision in which the machine multiplies fastest."""
        return max(self.operations, key=self.operations.get)

    def seconds(self, operations: float, traffic: float = 0.0, precision: torch.dtype = torch.float32) -> float:
        """The least time for so many operations and bytes: the processor does one while memory does the other."""
        return max(operations / self.operations[precision], traffic / self.memory)

    def lines(self) -> list[str]:
        """What was measured, a line each."""
        rates = [f"{str(p).partition('.')[2]} {rate / 1e9:,.0f}" for p, rate in self.operations.items()]
        return [
            f"- multiplying matrices, in 10⁹ operations a second: {', '.join(rates)}",
            f"- reading and writing memory: {self.memory / 1e9:.1f} GB a second",
        ]


def measure_limits(rounds: int = 5) -> Limits:
    """The best of so many rounds on the CPU: a limit is what was possible once."""
    operations = {getattr(torch, name): _multiplying(getattr(torch, name), rounds) for name in PRECISIONS.values()}
    source = torch.rand(COPIED // 4)
    target = torch.empty_like(source)
    return Limits(operations, 2 * COPIED / min(seconds_of(lambda: target.copy_(source), rounds)))


def _multiplying(precision: torch.dtype, rounds: int) -> float:
    for side in (SHORT_SIDE, SIDE):
        a, b = (torch.rand(side, side, dtype=precision) for _ in range(2))
        seconds = min(seconds_of(lambda a=a, b=b: a @ b, rounds))
        if seconds > SLOW:  # a precision that the processor emulates
            break
    return 2 * side**3 / seconds


def seconds_of(work: Callable[[], object], rounds: int) -> list[float]:
    """Of so many calls, after one that warms up."""
    work()
    return [timed(work) for _ in range(rounds)]


def median_seconds(work: Callable[[], object], rounds: int = 3) -> float:
    return statistics.median(seconds_of(work, rounds))


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
