"""The caption filter against what a user would write instead: paraphrase mining and a greedy pass, and a plain loop.

    python benchmarks/caption_filter_speed.py                                    90,000 synthetic rows: minutes
    python benchmarks/caption_filter_speed.py --rows 8000                        seconds
    python benchmarks/caption_filter_speed.py --rows 400000 --steps 5 --embeddings outputs/embeddings/coco/targets-...

The last one filters COCO's captions, which a run with `--corpus coco` has embedded. Every method runs alone in a fresh
process on the same unit float32 rows, at growing sizes. "growth" is the time by that of half the rows: 2 is linear, 4
the square. Memory is the peak above what the process held once the rows were loaded (Linux: VmHWM). "wrong" counts rows
kept that the exact filter drops, or the reverse: paraphrase mining looks at each row's 100 nearest and returns 500,000
pairs, unless told otherwise.
"""

import multiprocessing
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from clipknight.data.caption_filter import filter_similar
from clipknight.embedding.embeddings import Embeddings, unit
from clipknight.embedding.near_duplicates import filter_by_cells
from clipknight.embedding.row_parts import RowParts
from clipknight.paths import existing
from clipknight.settings import parse

import numpy as np
from machine_measures import hardware, peak_mib


@dataclass(frozen=True)
class Settings:
    rows: int = 90_000
    """the largest size"""
    dim: int = 384
    """dimensions of the synthetic rows"""
    embeddings: str = ""
    """folder of Embeddings to filter instead of synthetic rows, the first --rows of them in a seeded order"""
    threshold: float = 0.85
    """cosine above which a row is dropped"""
    steps: int = 4
    """sizes: the largest one and its halves"""
    mining_rows: int = 100_000
    """the largest size of sentence-transformers"""
    loop_rows: int = 12_000
    """the largest size of the loop"""
    block_rows: int = 1024
    """of the filter"""
    kept_rows: int = 4096
    """of the filter"""
    seed: int = 0
    """of the random rows: groups whose members have cosines around the threshold, and of the order of --embeddings"""
    methods: list[str] = field(default_factory=lambda: list(METHODS))
    """some of clipknight, cells (what clipknight does above a million rows), sentence-transformers, loop; the first is
    the one that ratios refer to"""


def make_rows(settings: Settings) -> np.ndarray:
    draw = np.random.default_rng(settings.seed)
    if settings.embeddings:
        vectors = unit(Embeddings.load(existing(settings.embeddings)).vectors)
        return vectors[draw.permutation(len(vectors))[: settings.rows]]
    groups = draw.standard_normal((max(1, settings.rows // 2), settings.dim), dtype=np.float32)
    away = draw.standard_normal((settings.rows, settings.dim), dtype=np.float32)
    away *= draw.uniform(0, 0.6, (settings.rows, 1)).astype(np.float32)
    return unit(groups[draw.integers(len(groups), size=settings.rows)] + away)


def clipknight(vectors: np.ndarray, settings: Settings) -> np.ndarray:
    return filter_similar(vectors, settings.threshold, None, settings.block_rows, settings.kept_rows).kept


def paraphrase_mining(vectors: np.ndarray, settings: Settings) -> np.ndarray:
    import torch
    from sentence_transformers.util import paraphrase_mining_embeddings

    kept = np.ones(len(vectors), dtype=bool)
    pairs = paraphrase_mining_embeddings(torch.from_numpy(vectors))
    for _, first, second in sorted((pair for pair in pairs if pair[0] > settings.threshold), key=lambda pair: pair[2]):
        if kept[first]:  # decided: every pair of a row with those before it comes before its pairs with later ones
            kept[second] = False
    return kept


def loop(vectors: np.ndarray, settings: Settings) -> np.ndarray:
    kept, is_kept, count = np.empty_like(vectors), np.zeros(len(vectors), dtype=bool), 0
    for row, vector in enumerate(vectors):
        if (kept[:count] @ vector).max(initial=-1) <= settings.threshold:
            kept[count], is_kept[row], count = vector, True, count + 1
    return is_kept


def cells(vectors: np.ndarray, settings: Settings) -> np.ndarray:
    return filter_by_cells(RowParts([vectors]), settings.threshold).kept


METHODS = {"clipknight": clipknight, "cells": cells, "sentence-transformers": paraphrase_mining, "loop": loop}


def measure(name: str, settings: Settings, file: Path) -> dict:
    vectors = np.load(file)
    METHODS[name](vectors[:500], settings)  # imports and thread pools
    before, start = peak_mib(), time.perf_counter()
    kept = METHODS[name](vectors, settings)
    return {"seconds": time.perf_counter() - start, "memory": peak_mib() - before, "kept": kept}


def main(argv=None) -> None:
    settings = parse(Settings, argv, "Speed and memory of the caption filter.")
    if unknown := set(settings.methods) - set(METHODS):
        raise SystemExit(f"--methods: no {', '.join(sorted(unknown))}; choose from {', '.join(METHODS)}")
    print("| rows | method | seconds | growth | times the first | memory, MiB | kept | wrong |")
    print("|---:|---|---:|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        file, part = Path(folder) / "rows.npy", Path(folder) / "part.npy"
        np.save(file, make_rows(settings))
        rows, before = np.load(file, mmap_mode="r"), {}
        for size in [len(rows) >> step for step in reversed(range(settings.steps))]:
            np.save(part, rows[:size])  # loading more than is compared would hide what a method takes
            before = print_size(size, settings, part, before)
    print(f"\n{hardware()}")


def print_size(size: int, settings: Settings, file: Path, before: dict[str, float]) -> dict[str, float]:
    """Print a row a method; the seconds of each, `before` being those of half the size."""
    most = {"loop": settings.loop_rows, "sentence-transformers": settings.mining_rows}
    found, exact = {}, None
    for name in settings.methods:
        if size > most.get(name, size):
            continue
        with multiprocessing.get_context("spawn").Pool(1) as process:
            measured = process.apply(measure, (name, settings, file))
        found[name], kept = measured["seconds"], measured["kept"]
        if exact is None:
            exact = kept if name == "clipknight" else clipknight(np.load(file), settings)
        growth = f"{found[name] / before[name]:.1f}" if name in before else ""
        times = found[name] / next(iter(found.values()))
        print(f"| {size:,} | {name} | {found[name]:.2f} | {growth} | {times:.1f} | {measured['memory']:.0f} ", end="")
        print(f"| {kept.sum():,} | {(kept != exact).sum():,} |", flush=True)
    return found


if __name__ == "__main__":
    main()
