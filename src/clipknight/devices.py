"""Which device and precision a command computes with."""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from clipknight.processes import own_device, process_count
from clipknight.ranges import Device, Processes
from clipknight.settings import without_effect

if TYPE_CHECKING:
    import torch

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1  # for this process
BACKENDS = ("auto", "torch", "openvino", "onnx")
PRECISIONS = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}  # and what torch calls them


@dataclass(frozen=True, kw_only=True)
class DeviceSettings:
    """Settings of what computes"""

    device: Device = without_effect("auto")
    """auto (CUDA, else Apple's MPS, else the CPU), cpu, cuda, mps"""


@dataclass(frozen=True, kw_only=True)
class WorkerSettings:
    """Settings of what reads"""

    workers: Processes = without_effect(min(CORES, 16))
    """processes that read images; by default as many as there are cores, 16 at most"""


@dataclass(frozen=True, kw_only=True)
class PrecisionSettings:
    """Settings of how exactly models compute"""

    precision: Literal["auto", *PRECISIONS] = "auto"
    """auto (bf16 where the hardware has it), fp32, bf16, fp16"""


@dataclass(frozen=True, kw_only=True)
class BackendSettings:
    """Settings of what runs the encoders"""

    backend: Literal[BACKENDS] = without_effect("auto")
    """torch; openvino or onnx: on a CPU, where these extras are installed; auto (openvino for much work, else torch)"""


def pick_device(name: str = "auto") -> "torch.device":
    """The named device; `auto` takes CUDA, else Apple's MPS, else the CPU.

    Of several processes each has a GPU of its own.
    """
    import torch

    if process_count() > 1 and name in ("auto", "cuda", "cpu"):
        name = own_device(cpu=name == "cpu" or not torch.cuda.is_available())
    elif name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.mps.is_available() else "cpu"
    return torch.device(name)


def pick_precision(name: str, device: "torch.device") -> "torch.dtype":
    """The named precision; `auto` is bf16 where the hardware multiplies it natively, else fp32."""
    import torch

    if name not in ("auto", *PRECISIONS):
        raise ValueError(f"precision {name!r} is none of auto, {', '.join(PRECISIONS)}")
    if name != "auto":
        return getattr(torch, PRECISIONS[name])
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)  # a T4 emulates it, slower than fp32
        return torch.bfloat16 if native else torch.float16
    native = device.type == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return torch.bfloat16 if native else torch.float32
