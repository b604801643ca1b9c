"""Images a second of an encoder by memory layout, precision and malloc, and how far bf16 moves the embeddings.

    python benchmarks/encoding_speed.py [--encoder lite2-minilm@224] [--images FOLDER]

Prints a table of ratios to the plain way (contiguous, fp32) on the same images, measured in one run, interleaved; then
the last way again with freed memory kept, as every script has it (clipknight/devices.py), which cannot be undone.
"""

import sys
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from clipknight.data.datasets import image_folder
from clipknight.data.images import read_image
from clipknight.embedding.clip import load_clip
from clipknight.embedding.settings import OFFLINE
from clipknight.errors import user_errors
from clipknight.paths import ROOT
from clipknight.preparation import keep_freed_memory
from clipknight.settings import parse
from clipknight.training.runs import machine

import numpy as np
import torch


@dataclass(frozen=True)
class Settings:
    """Settings of encoding_speed.py"""

    encoder: str = f"{OFFLINE}@224"
    """as for the scripts"""
    images: str = str(ROOT / "input" / "sample" / "Images")
    """folder of images"""
    count: int = 256
    """images encoded each time"""
    rounds: int = 3
    """times each way is measured; the best is kept"""
    batch_size: int = 64
    """images at a time"""


@user_errors
def main(argv=None) -> None:
    s = parse(Settings, argv, __doc__)
    encoder = load_clip(s.encoder, precision="fp32")
    paths = image_folder(s.images).images["path"][: s.count]
    pixels = torch.stack([encoder.preprocess(read_image(path)) for path in paths])
    ways = {
        "contiguous fp32": (torch.contiguous_format, torch.float32),
        "channels_last fp32": (torch.channels_last, torch.float32),
        "contiguous bf16": (torch.contiguous_format, torch.bfloat16),
        "channels_last bf16": (torch.channels_last, torch.bfloat16),
    }
    seconds, vectors = {}, {}

    def measure(ways):
        for _ in range(s.rounds):
            for name, (layout, precision) in ways.items():
                encoder.visual.to(memory_format=layout)
                start = time.perf_counter()
                vectors[name] = encode(encoder, pixels, layout, precision, s.batch_size)
                seconds[name] = min(seconds.get(name, float("inf")), time.perf_counter() - start)

    measure(ways)
    plain, *_, fastest = ways
    if keep_freed_memory():
        kept = {f"{fastest}, freed memory kept": ways[fastest]}
        measure(kept)
        ways |= kept
    print(f"{s.encoder}, {len(pixels)} images at {encoder.image_size} px, {machine()}\n")
    print("| way | images/s | ratio | mean cosine to fp32 | least |\n|---|---|---|---|---|")
    for name in ways:
        cosine = (vectors[name] * vectors[plain]).sum(axis=1)
        rate, ratio = len(pixels) / seconds[name], seconds[plain] / seconds[name]
        print(f"| {name} | {rate:.0f} | {ratio:.2f} | {cosine.mean():.5f} | {cosine.min():.5f} |")


@torch.inference_mode()
def encode(encoder, pixels, layout, precision, batch_size) -> np.ndarray:
    rows = []
    for batch in pixels.split(batch_size):
        with torch.autocast(encoder.device.type, precision, enabled=precision != torch.float32):
            batch = batch.to(encoder.device, memory_format=layout)
            rows.append(encoder.model.encode_image(batch) if encoder.projected else encoder.visual.trunk(batch))
    return torch.nn.functional.normalize(torch.cat(rows).float(), dim=-1).cpu().numpy()


if __name__ == "__main__":
    main()
