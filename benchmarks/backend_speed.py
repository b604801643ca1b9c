"""Images and captions a second by torch and by each other backend that is installed, and how near their rows are.

    python benchmarks/backend_speed.py [--encoder lite2-minilm@224] [--exported outputs/exported/a]

All ways encode the same pixels and captions, interleaved in one run; the table has the medians, of the clock and of
the processor's time: beside other work the clock says little.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from clipknight.data.datasets import read_dataset
from clipknight.data.images import read_image
from clipknight.devices import pick_precision
from clipknight.embedding.backends import mean_cosine, precision_of
from clipknight.embedding.cache import target_fingerprint
from clipknight.embedding.clip import load_clip
from clipknight.embedding.clip_encoder import ClipEncoder
from clipknight.embedding.embeddings import unit
from clipknight.embedding.graphs import GRAPH, Graph
from clipknight.embedding.image_graph import run_by
from clipknight.embedding.sentence_graph import SentenceGraph, sentence_graph
from clipknight.embedding.settings import MINILM, OFFLINE
from clipknight.embedding.target_encoder import load_target_encoder
from clipknight.errors import user_errors
from clipknight.paths import ROOT
from clipknight.preparation import prepare_process
from clipknight.settings import parse

import numpy as np
import torch
from machine_measures import hardware

BACKENDS = {"openvino": "openvino", "onnx": "onnxruntime"}


@dataclass(frozen=True)
class Settings:
    """Settings of backend_speed.py"""

    encoder: str = f"{OFFLINE}@224"
    """as for the scripts"""
    data: str = str(ROOT / "input" / "flickr8k")
    """dataset of the images and the captions"""
    images: int = 256
    """encoded each time"""
    captions: int = 4096
    """encoded each time"""
    exported: str = ""
    """folder of a run that export.py wrote for onnx, with --int8: measured beside them"""
    rounds: int = 5
    """times each way is measured, in turns"""
    batch_size: int = 64
    """images at a time"""


@user_errors
def main(argv=None) -> None:
    s = parse(Settings, argv, __doc__)
    prepare_process()
    dataset = read_dataset(s.data)
    encoder = load_clip(s.encoder, "cpu", "fp32")
    paths = dataset.images["path"][: s.images]
    pixels = torch.stack([encoder.preprocess(read_image(path, encoder.decoded_size)) for path in paths])
    print(f"{s.encoder}, {len(pixels)} images of {encoder.image_size} pixels, {hardware()}\n")
    measure(image_ways(encoder, s.exported), pixels, s.rounds, lambda rows: rows.split(s.batch_size))

    captions = dataset.captions["caption"].tolist()[: s.captions]
    print(f"\nMiniLM, {len(captions):,} captions, {hardware()}\n")
    measure(caption_ways(), captions, s.rounds, lambda rows: [rows])


def image_ways(encoder: ClipEncoder, exported: str) -> dict[str, Callable]:
    """Each way to encode pixels by its name, torch in fp32 first."""
    ways = {}
    for backend, precision in combinations():
        way = run_by(backend, replace(encoder, precision=precision))
        ways[f"{backend} {str(precision).partition('.')[2]}"] = way.encode_pixels
    for backend in installed() if exported else ():
        run = Graph(Path(exported) / GRAPH, backend)
        ways[f"{backend} int8, with its head"] = lambda batch, run=run: run(pixels=batch.numpy())
    return ways


def caption_ways() -> dict[str, Callable]:
    """Each way to embed captions by its name, torch in fp32 first."""
    model, ways = load_target_encoder(MINILM, "cpu"), {}
    weights = target_fingerprint(model)
    for backend, precision in combinations():
        name = f"{backend} {str(precision).partition('.')[2]}"
        ways[name] = partial(by_torch, model, precision)
        if backend != "torch":
            graph = sentence_graph(model, MINILM, f"{weights}-{name.replace(' ', '-')}", backend, precision)
            ways[name] = SentenceGraph(model, lambda graph=graph: graph).encode
    return ways


def by_torch(model, precision: torch.dtype, captions: list[str]) -> np.ndarray:
    with torch.autocast("cpu", precision, enabled=precision != torch.float32):
        return unit(model.encode(captions, batch_size=128, show_progress_bar=False))


def combinations() -> list[tuple[str, torch.dtype]]:
    """Backends that are installed, each in the precisions that it has."""
    fast = pick_precision("auto", torch.device("cpu"))
    both = dict.fromkeys([torch.float32, fast])
    return [(backend, p) for backend in ("torch", *installed()) for p in both if p == precision_of(backend, p)]


def installed() -> list[str]:
    return [backend for backend, module in BACKENDS.items() if find_spec(module)]


def measure(ways: dict[str, Callable], rows, rounds: int, batches: Callable) -> None:
    """Print the table of all `ways` to encode `rows`: medians of so many rounds, each way once in each."""
    seconds, vectors = {name: [] for name in ways}, {}
    for way in ways.values():
        way(rows[:2])  # loads what it needs
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.perf_counter(), time.process_time()
            vectors[name] = np.concatenate([way(batch) for batch in batches(rows)])
            seconds[name].append((time.perf_counter() - start[0], time.process_time() - start[1]))
    median = {name: np.median(times, axis=0) for name, times in seconds.items()}
    first = next(iter(ways))
    print("| way | a second | ratio | a second of one core | ratio | mean cosine to the first |")
    print("|---|---|---|---|---|---|")
    for name, (wall, core) in median.items():
        same = vectors[name].shape == vectors[first].shape
        cosine = f"{mean_cosine(vectors[name], vectors[first]):.6f}" if same else ""
        clock, work = median[first] / median[name]
        print(f"| {name} | {len(rows) / wall:.0f} | {clock:.2f} | {len(rows) / core:.0f} | {work:.2f} | {cosine} |")


if __name__ == "__main__":
    main()
