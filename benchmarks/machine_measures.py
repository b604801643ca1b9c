"""What a benchmark says of the machine, and of its own memory (Linux)."""

import os
import platform
from pathlib import Path


def peak_mib() -> float:
    """The largest memory that this process has held: VmHWM."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


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
