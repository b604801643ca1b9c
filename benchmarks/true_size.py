"""Core-seconds and peak memory of the large CLIPs at their true size, with random weights: what a run of them takes.

    python benchmarks/true_size.py [--models ViT-L-14-quickgelu@336 ViT-SO400M-14-SigLIP-384] [--rounds 1]

For each model and precision, in a process of its own: encoding images and captions, the memory that the same encoder at
twice the size takes beside it, and one step of fine-tuning the image tower, first its upper layers alone, as scripts do
by default, then all of them. Random weights take the time of real ones, and need no download. A core-second is a
second of one core at work, however busy the machine is with other things.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from clipknight.devices import pick_precision
from clipknight.embedding.clip_encoder import ClipEncoder
from clipknight.errors import user_errors
from clipknight.preparation import keep_freed_memory
from clipknight.settings import parse
from clipknight.training.learning_rates import tower_groups, tower_rates

import open_clip
import torch
from machine_measures import hardware, peak_mib
from open_clip.transform import PreprocessCfg
from tower_steps import FREEZE_BELOW, WEIGHT_DECAY, fine_tuning_step


@dataclass(frozen=True)
class Settings:
    """Settings of true_size.py"""

    models: list[str] = field(default_factory=lambda: ["ViT-L-14-quickgelu@336", "ViT-SO400M-14-SigLIP-384"])
    """architectures of open_clip; NAME@336 sets the image size"""
    precisions: list[str] = field(default_factory=lambda: ["fp32", "bf16"])
    """fp32, bf16"""
    batch_size: int = 2
    """images, and captions, at a time"""
    rounds: int = 1
    """times each thing is measured; the best is kept"""
    alone: bool = False
    """measure the one model and precision named, in this process"""


@user_errors
def main(argv=None) -> None:
    s = parse(Settings, argv, __doc__)
    if s.alone:
        print(row(s.models[0], s.precisions[0], s.batch_size, s.rounds))
        return
    print("| model | precision | weights, GiB | image | caption | twice the size, MiB | peak, GiB |", end="")
    print(" step, an image | peak, GiB | step of all layers, an image | peak, GiB |\n|" + "---|" * 11, flush=True)
    for model in s.models:
        for precision in s.precisions:
            words = ["--models", model, "--precisions", precision, "--alone"]
            sizes = ["--batch_size", str(s.batch_size), "--rounds", str(s.rounds)]
            subprocess.run([sys.executable, __file__, *words, *sizes], check=True)
    print(f"\ntimes in core-seconds, batches of {s.batch_size}, {hardware()}")


def row(model: str, precision: str, batch_size: int, rounds: int) -> str:
    keep_freed_memory()
    encoder = random_encoder(model, precision)
    side = encoder.image_size
    pixels = torch.randn(batch_size, 3, side, side)
    context, words = encoder.model.context_length, encoder.model.vocab_size
    tokens = torch.randint(words, (batch_size, context))
    weights = sum(parameter.numel() for parameter in encoder.model.parameters()) * 4 / 2**30
    images = best_seconds(lambda: encoder.encode_pixels(pixels), rounds)
    captions = best_seconds(torch.inference_mode()(lambda: encoder.model.encode_text(tokens)), rounds)
    before = peak_mib()
    other = encoder.at_size(2 * side)
    beside = peak_mib() - before
    del other
    cells = [model, precision, f"{weights:.1f}", f"{images / batch_size:.2f}", f"{captions / batch_size:.2f}"]
    cells += [f"{beside:.0f}", f"{peak_mib() / 1024:.1f}"]
    for freeze_below in (FREEZE_BELOW, 0.0):
        step = step_of(encoder, pixels, freeze_below)
        cells += [f"{best_seconds(step, rounds) / batch_size:.2f}", f"{peak_mib() / 1024:.1f}"]
    return f"| {' | '.join(cells)} |"


def random_encoder(model: str, precision: str) -> ClipEncoder:
    architecture, _, size = model.partition("@")
    clip = open_clip.create_model(architecture)
    cfg = PreprocessCfg(**open_clip.get_model_preprocess_cfg(clip))
    device = torch.device("cpu")
    reduced = pick_precision(precision, device)
    parts = {"model": clip, "preprocess_cfg": cfg, "tokenizer": None, "precision": reduced}
    encoder = ClipEncoder(name=architecture, root=architecture, **parts, joint=True, projected=True)
    return encoder.at_size(int(size)) if size else encoder


def step_of(encoder: ClipEncoder, pixels: torch.Tensor, freeze_below: float) -> Callable[[], None]:
    """A step of fine-tuning the encoder's image tower."""
    encoder.visual.requires_grad_(True)
    rates = tower_rates(encoder, None, None)
    groups = tower_groups(encoder.visual, rates["lr_vision"], rates["layer_decay"], freeze_below, WEIGHT_DECAY)
    return fine_tuning_step(encoder.features, groups, pixels, encoder.precision)


def best_seconds(work: Callable, rounds: int) -> float:
    """The fewest core-seconds of `rounds` times."""
    seconds = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return min(seconds)


if __name__ == "__main__":
    main()
