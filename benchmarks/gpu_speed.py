"""Images a second on a GPU, and the share of its peak, of encoding and of a fine-tuning step at true size.

    python benchmarks/gpu_speed.py [--models ViT-L-14-quickgelu tf_efficientnet_lite2@260] [--batch_size 256]

The towers have random weights, which take the time of real ones and need no download. Each is used as the commands use
it: autocast, channels_last, AdamW fused, the lower layers frozen as by default, then all of them learning. The peak is
the rate of a large matrix product in the same precision, measured first; torch counts the operations of a tower.
`compiled` is torch.compile, whose own time is left out.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from clipknight.devices import PRECISIONS
from clipknight.errors import user_errors
from clipknight.settings import parse
from clipknight.training.learning_rates import IMAGENET_RATES, WEB_RATES, tower_groups
from clipknight.training.state import freeze_batch_norm

import open_clip
import timm
import torch
from torch.utils.flop_counter import FlopCounterMode
from tower_steps import FREEZE_BELOW, WEIGHT_DECAY, fine_tuning_step, in_precision

MATRIX = 8192
BACKWARD = 3  # operations of a step in which all layers learn, where those of the forward pass are 1


@dataclass(frozen=True)
class Settings:
    """Settings of gpu_speed.py"""

    models: list[str] = field(
        default_factory=lambda: [
            "tf_efficientnet_lite2@260",
            "ViT-B-32-quickgelu",
            "ViT-L-14-quickgelu",
            "ViT-L-14-quickgelu@336",
            "ViT-SO400M-14-SigLIP-384",
        ]
    )
    """architectures of open_clip or timm; NAME@336 sets the image size"""
    precisions: list[str] = field(default_factory=lambda: ["fp32", "fp16", "bf16"])
    """fp32, fp16, bf16"""
    batch_size: int = 256
    """images encoded at a time; a fine-tuning step has a quarter"""
    rounds: int = 10
    """times each thing is done after three to warm up; the median is given"""
    compiled: bool = True
    """measure torch.compile too, in the last of the precisions"""


@user_errors
def main(argv=None) -> None:
    s = parse(Settings, argv, __doc__)
    if not torch.cuda.is_available():
        raise ValueError("torch finds no CUDA device here: benchmarks/true_size.py measures on a CPU")
    peaks = {name: peak_rate(getattr(torch, PRECISIONS[name]), s.rounds) for name in s.precisions}
    rates = ", ".join(f"{rate / 1e12:.0f} in {name}" for name, rate in peaks.items())
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}; TFLOP/s of a matrix product: {rates}")
    print("| tower | precision | encoded a second | of the peak | step, images a second | GiB |", end="")
    print(" step of all layers | GiB | of the peak |\n|" + "---|" * 9, flush=True)
    for model in s.models:
        for name in s.precisions:
            print(row(model, name, peaks[name], s), flush=True)
        if s.compiled:
            name = s.precisions[-1]
            print(row(model, name, peaks[name], s, compiled=True), flush=True)


def row(model: str, name: str, peak: float, s: Settings, compiled: bool = False) -> str:
    torch.cuda.empty_cache()
    precision = getattr(torch, PRECISIONS[name])
    cells = [model, name + " compiled" * compiled]
    tower, size = random_tower(model)
    pixels = torch.randn(s.batch_size, 3, size, size, device="cuda").contiguous(memory_format=torch.channels_last)

    forward = torch.compile(tower) if compiled else tower
    operations = counted(tower.eval(), pixels[:1]) * s.batch_size
    with torch.inference_mode():
        seconds = median_seconds(lambda: in_precision(forward, pixels, precision), s.rounds)
    cells += [f"{s.batch_size / seconds:,.0f}", f"{operations / seconds / peak:.0%}"]

    pixels = pixels[: s.batch_size // 4].clone(memory_format=torch.channels_last)
    for freeze_below in (FREEZE_BELOW, 0.0):
        torch.cuda.reset_peak_memory_stats()
        step = step_of(model, pixels, precision, freeze_below, compiled)
        seconds = median_seconds(step, s.rounds)
        cells += [f"{len(pixels) / seconds:,.0f}", f"{torch.cuda.max_memory_allocated() / 2**30:.1f}"]
    operations *= BACKWARD * len(pixels) / s.batch_size
    cells += [f"{operations / seconds / peak:.0%}"]
    return f"| {' | '.join(cells)} |"


def random_tower(model: str) -> tuple[torch.nn.Module, int]:
    """The image tower of an architecture, and its image size."""
    name, _, size = model.partition("@")
    if name in open_clip.list_models():
        options = {"force_image_size": int(size)} if size else {}
        tower = open_clip.create_model(name, **options).visual
        own = tower.image_size
        size = size or (own if isinstance(own, int) else own[0])
    else:
        tower = timm.create_model(name, num_classes=0)
        size = size or tower.default_cfg["input_size"][-1]
    return tower.to("cuda", memory_format=torch.channels_last), int(size)


def step_of(
    model: str, pixels: torch.Tensor, precision: torch.dtype, freeze_below: float, compiled: bool
) -> Callable[[], None]:
    """A step of fine-tuning a new tower of this architecture."""
    tower, _ = random_tower(model)
    lr, layer_decay = WEB_RATES if model.startswith("ViT") else IMAGENET_RATES
    groups = tower_groups(tower, lr, layer_decay, freeze_below, WEIGHT_DECAY)
    freeze_batch_norm(tower.train())
    return fine_tuning_step(torch.compile(tower) if compiled else tower, groups, pixels, precision)


def counted(tower: torch.nn.Module, pixels: torch.Tensor) -> int:
    """Operations of one forward pass; a multiplication and an addition count as two."""
    torch.backends.mha.set_fastpath_enabled(False)  # whose operations torch does not count
    tower.requires_grad_(False)  # its counter stumbles over parameters that are inputs, as in SigLIP's pooling
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        tower(pixels)
    torch.backends.mha.set_fastpath_enabled(True)
    return counter.get_total_flops()


def peak_rate(precision: torch.dtype, rounds: int) -> float:
    """Operations a second of a product of two square matrices."""
    left, right = (torch.randn(MATRIX, MATRIX, device="cuda", dtype=precision) for _ in range(2))
    return 2 * MATRIX**3 / median_seconds(lambda: left @ right, rounds)


def median_seconds(work: Callable, rounds: int) -> float:
    """Seconds of the GPU that `work` takes, the median of `rounds` times after three to warm up."""
    for _ in range(3):
        work()
    seconds = []
    for _ in range(rounds):
        start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        work()
        stop.record()
        torch.cuda.synchronize()
        seconds.append(start.elapsed_time(stop) / 1000)
    return sorted(seconds)[len(seconds) // 2]


if __name__ == "__main__":
    main()
