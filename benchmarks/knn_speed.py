"""Model B's search and average against what a user would write instead: scikit-learn, and torch's matmul + topk.

    python benchmarks/knn_speed.py                               the full table
    python benchmarks/knn_speed.py --keys 5000 --queries 256     seconds

Every method runs alone in a fresh process, on the same unit float32 vectors, and predicts the same queries with the
same weights. Memory is the peak above what the process held once the data was loaded (Linux: VmHWM).
"""

import multiprocessing
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from clipknight.embedding.embeddings import unit
from clipknight.ensemble.knn import DistanceWeightedKNN
from clipknight.settings import parse

import numpy as np
from machine_measures import hardware, peak_mib
from sklearn.neighbors import KNeighborsRegressor

METHODS = ["scikit-learn", "torch", "exact", "ivf", "hnsw"]


@dataclass(frozen=True)
class Settings:
    keys: int = 60_000
    """rows to search"""
    dim: int = 768
    """their dimensions"""
    targets: int = 384
    """dimensions of the values"""
    queries: int = 1024
    """rows predicted in one call"""
    neighbors: int = 100
    """k"""
    repeats: int = 3
    """calls of which the fastest counts"""
    seed: int = 0
    """of the random data: clusters in a 64-dimensional subspace, plus noise"""
    methods: list[str] = field(default_factory=lambda: METHODS)
    """some of scikit-learn, torch, exact, ivf, hnsw; the first is the one that ratios refer to"""


def make_data(settings: Settings, folder: Path) -> None:
    rng = np.random.default_rng(settings.seed)
    centres = rng.standard_normal((max(1, settings.keys // 200), 64), dtype=np.float32)
    lift = rng.standard_normal((64, settings.dim), dtype=np.float32)
    for name, rows in (("keys", settings.keys), ("queries", settings.queries)):
        latent = centres[rng.integers(len(centres), size=rows)] + rng.standard_normal((rows, 64), dtype=np.float32)
        np.save(folder / name, unit(latent @ lift + rng.standard_normal((rows, settings.dim), dtype=np.float32)))
    np.save(folder / "values", unit(rng.standard_normal((settings.keys, settings.targets), dtype=np.float32)))


def paper_weights(distances):
    return 1e-3 / (distances.clip(min=0) ** 6 + 1e-4)


class TorchKNN:
    """The few lines that a notebook would hold."""

    def __init__(self, k):
        self.k = k

    def fit(self, keys, values):
        import torch

        self.keys, self.values = torch.from_numpy(keys), torch.from_numpy(values)
        return self

    def predict(self, queries):
        import torch

        similarity, nearest = (torch.from_numpy(queries) @ self.keys.T).topk(self.k)
        weights = paper_weights(1 - similarity.double()).float()
        return torch.einsum("qk,qkt->qt", weights, self.values[nearest]).numpy()


def make_method(name: str, k: int):
    if name == "torch":
        return TorchKNN(k)
    if name == "scikit-learn":
        return KNeighborsRegressor(k, weights=paper_weights, metric="cosine", algorithm="brute")
    return DistanceWeightedKNN(k, index=name)


def measure(name: str, settings: Settings, folder: Path) -> dict:
    keys, values, queries = (np.load(folder / f"{part}.npy") for part in ("keys", "values", "queries"))
    method = make_method(name, settings.neighbors)
    method.fit(keys[:1000], values[:1000]).predict(queries[:32])  # imports and thread pools
    before, start = peak_mib(), time.perf_counter()
    method.fit(keys, values)
    fit_seconds, seconds = time.perf_counter() - start, []
    for _ in range(settings.repeats):
        start = time.perf_counter()
        predictions = method.predict(queries)
        seconds.append(time.perf_counter() - start)
    return {
        "fit": fit_seconds,
        "speed": len(queries) / min(seconds),
        "memory": peak_mib() - before,
        "recall": method.recall(queries) if isinstance(method, DistanceWeightedKNN) else 1.0,
        "predictions": unit(predictions),
    }


def main(argv=None) -> None:
    settings = parse(Settings, argv, "Speed, memory and recall of Model B's search.")
    if unknown := set(settings.methods) - set(METHODS):
        raise SystemExit(f"--methods: no {', '.join(sorted(unknown))}; choose from {', '.join(METHODS)}")
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        make_data(settings, Path(folder))
        for name in settings.methods:
            with multiprocessing.get_context("spawn").Pool(1) as process:
                results[name] = process.apply(measure, (name, settings, Path(folder)))
    print_table(settings, results)


def print_table(settings: Settings, results: dict[str, dict]) -> None:
    reference = settings.methods[0]
    first = results[reference]
    print(f"{settings.keys} keys x {settings.dim}, k = {settings.neighbors}, {settings.queries} queries\n")
    print(f"| method | fit, s | queries/s | times {reference} | memory, MiB | times {reference} | recall | cos |")
    print("|---|---|---|---|---|---|---|---|")
    for name, row in results.items():
        cos = (row["predictions"] * first["predictions"]).sum(axis=1).mean()
        speed, memory = row["speed"] / first["speed"], row["memory"] / first["memory"]
        print(f"| {name} | {row['fit']:.1f} | {row['speed']:.0f} | {speed:.1f} | {row['memory']:.0f} ", end="")
        print(f"| {memory:.2f} | {row['recall']:.3f} | {cos:.4f} |")
    print(f"\ncos: of the predictions with {reference}'s. {hardware()}")


if __name__ == "__main__":
    main()
