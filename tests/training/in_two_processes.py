"""What each of two processes does that test_processes.py starts: `torchrun in_two_processes.py OUTPUTS JOBS`."""

import json
import os
import sys
from pathlib import Path

import clipknight  # noqa: F401, first: torchvision needs its guard

OUTPUTS = Path(sys.argv[1])
os.environ["CLIPKNIGHT_OUTPUTS"] = str(OUTPUTS)

import train_a  # noqa: E402
import train_clip  # noqa: E402
import train_knight  # noqa: E402
from clipknight.data.datasets import read_dataset  # noqa: E402
from clipknight.embedding.cache import image_embeddings  # noqa: E402
from clipknight.embedding.clip import load_clip  # noqa: E402

import torch  # noqa: E402
from small_training import Killed, broken_off  # noqa: E402

MAINS = {"train_a": train_a.main, "train_clip": train_clip.main, "train_knight": train_knight.main}
os.fsync = lambda handle: None
torch.set_num_threads(1)


def encode(data: str, clip: str) -> None:
    """Twice, the first time killed; each process writes how many rows it encoded."""
    dataset, encoder, counts = read_dataset(data), load_clip(clip, "cpu", "fp32"), []
    encode_pixels = encoder.encode_pixels

    def counting(pixels):
        if len(counts) == 1:
            counts.append(0)
            raise Killed
        counts.append(len(pixels))
        return encode_pixels(pixels)

    encoder.encode_pixels = counting
    options = {"cache": OUTPUTS / "shared", "batch_size": 8, "workers": 0}
    try:
        image_embeddings(encoder, dataset, **options)
    except Killed:
        pass
    image_embeddings(encoder, dataset, **options)
    counted = OUTPUTS / f"counts-{os.environ['RANK']}.json"
    counted.write_text(json.dumps(counts), encoding="utf-8")


if __name__ == "__main__":
    for script, argv, saves in json.loads(sys.argv[2]):
        if script == "encode":
            encode(*argv)
        elif saves:
            broken_off(MAINS[script], argv, saves)
        else:
            MAINS[script](argv)
