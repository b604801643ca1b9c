"""What a benchmark says of the machine, and of its own memory (Linux)."""

import os
import platform
from pathlib import Path


def peak_mib() -> float:
    """The largest memory that this process has held: VmHWM."""
    return memory_mib("VmHWM")


def memory_mib(name: str) -> float:
    """What the kernel says of this process's memory: VmRSS (resident), VmHWM (its peak), VmData (its own)."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in lines if line.startswith(f"{name}:")).split()[1]) / 1024


def hardware() -> str:
    """Cores, processor and load, on one line."""
    info = Path("/proc/cpuinfo")
    models = [
        line.split(":")[1].strip()
        for line in info.read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    ]
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} cores, {(models or [platform.processor()])[0]}, load average {load:.1f} at the end"
