"""What a tenfold of rows costs: Model B's index, the caption filter, the blend and the submission, stage by stage.

    python benchmarks/scale.py --rows 10000 100000                      minutes
    python benchmarks/scale.py --rows 1000000 10000000                  hours, and 25 GB of disk
    python benchmarks/scale_picture.py outputs/scale/results.jsonl      draws what was measured, and prints the table

Rows are synthetic captions of 384 numbers, drawn part by part, the same for the same seed: topics in a space of 48
dimensions, a quarter of them near-copies of others with cosines from .75 to 1. They lie on disk in 16 bits, as keys and
values at once. Queries are new captions, disturbed about as far as a prediction lies from its image's caption (cosine
.64); the caption is their target. Each stage runs alone in a fresh process; its result is a line of results.jsonl, kept
between calls. Own memory is what the kernel cannot take back: mapped files, which it can, do not count (Linux).
"""

import json
import multiprocessing
import shutil
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from clipknight.data.caption_filter import filter_similar
from clipknight.embedding.embeddings import Embeddings, unit
from clipknight.embedding.near_duplicates import filter_by_cells, missed
from clipknight.embedding.row_parts import RowParts
from clipknight.ensemble.blending import blend, fit_weights
from clipknight.ensemble.disk_index import read_on_disk
from clipknight.ensemble.index_choice import choose_index
from clipknight.ensemble.knn import DistanceWeightedKNN
from clipknight.ensemble.knn_on_disk import fit_on_disk
from clipknight.ensemble.submission import check_written, write_submission
from clipknight.settings import parse

import numpy as np
from machine_measures import hardware, memory_mib

DIM, LATENT = 384, 48
THRESHOLD, NEIGHBORS = 0.85, 100
PROBED = (64, 32, 16, 8, 4)  # shares of the cells, one of so many
EXACT_FILTER, CSV_ROWS = 200_000, 1_000_000  # the most rows of the exact filter and of a submission's file


@dataclass(frozen=True)
class Settings:
    """Settings of scale.py"""

    rows: list[int]
    """sizes"""
    stages: list[str] = field(default_factory=lambda: list(STAGES))
    """some of them, in this order; rows that are there are not drawn again"""
    folder: str = "outputs/scale"
    """where rows, indexes and results lie"""
    part_rows: int = 250_000
    """rows of a part"""
    queries: int = 500
    """that Model B is asked, and kept captions that are compared with all others"""
    seed: int = 0
    """of the rows"""
    keep: bool = False
    """the rows, when all stages are done"""


def main(argv=None) -> None:
    s = parse(Settings, argv, __doc__)
    if unknown := set(s.stages) - set(STAGES):
        raise SystemExit(f"--stages: no {', '.join(sorted(unknown))}; choose from {', '.join(STAGES)}")
    results = Path(s.folder) / "results.jsonl"
    results.parent.mkdir(parents=True, exist_ok=True)
    for rows in s.rows:
        folder = Path(s.folder) / str(rows)
        for stage in s.stages:
            with multiprocessing.get_context("spawn").Pool(1) as process:
                line = process.apply(measured, (stage, s, rows, folder))
            if line:
                print(json.dumps(line), flush=True)
                with open(results, "a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")
        if not s.keep:
            shutil.rmtree(folder)


def measured(stage: str, s: Settings, rows: int, folder: Path) -> dict | None:
    """What a stage did, with its time, memory and machine; None where it has nothing to do."""
    with OwnMemory() as memory:
        start, cpu = time.perf_counter(), time.process_time()
        found = STAGES[stage](s, rows, folder)
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    if found is None:
        return None
    numbers = {"seconds": seconds, "cpu_seconds": cpu, "own_mib": memory.peak, **found}
    numbers = {name: round(x, 5) if isinstance(x, float) else x for name, x in numbers.items()}
    return {"stage": stage, "rows": rows, **numbers, "machine": hardware()}


class OwnMemory:
    """The most anonymous memory that the process holds while the block runs, looked at ten times a second, in MiB."""

    def __enter__(self) -> "OwnMemory":
        self.before = self.peak = memory_mib("RssAnon")
        self.over = threading.Event()
        self.watch = threading.Thread(target=self._watch, daemon=True)
        self.watch.start()
        return self

    def __exit__(self, *_) -> None:
        self.over.set()
        self.watch.join()
        self.peak = round(self.peak - self.before)

    def _watch(self) -> None:
        while not self.over.wait(0.1):
            self.peak = max(self.peak, memory_mib("RssAnon"))


def drawn(rows: int, part: int, count: int, seed: int) -> np.ndarray:
    """(count, DIM) unit float32: part number `part` of so many rows."""
    shared = np.random.default_rng([seed, rows])
    lift = shared.standard_normal((LATENT, DIM), dtype=np.float32)
    topics = shared.standard_normal((max(20, rows // 200), LATENT), dtype=np.float32)
    own = np.random.default_rng([seed, rows, part])
    anchors = np.random.default_rng([seed, rows, 2**31])  # what near-copies are of
    anchors = topics[anchors.integers(len(topics), size=rows // 20)] + anchors.standard_normal(
        (rows // 20, LATENT), dtype=np.float32
    )
    latent = topics[own.integers(len(topics), size=count)] + own.standard_normal((count, LATENT), dtype=np.float32)
    copies = own.random(count) < 0.25
    latent[copies] = anchors[own.integers(len(anchors), size=copies.sum())]
    away = own.standard_normal((count, DIM), dtype=np.float32) / DIM**0.5
    away *= np.where(copies, own.uniform(0, 0.6, count), 0.3).astype(np.float32)[:, None]
    return unit(unit(latent @ lift) + away)


def draw_rows(s: Settings, rows: int, folder: Path) -> dict | None:
    if folder.is_dir():
        return None
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    for part, start in enumerate(range(0, rows, s.part_rows)):
        vectors = drawn(rows, part, min(s.part_rows, rows - start), s.seed)
        np.save(unfinished / f"part-{part:05}.npy", vectors.astype(np.float16))
    unfinished.rename(folder)
    return {"disk_mib": disk_mib(folder)}


def parts_of(folder: Path) -> list[np.ndarray]:
    return [np.load(file, mmap_mode="r") for file in sorted(folder.glob("part-*.npy"))]


def queries_and_targets(s: Settings, rows: int) -> tuple[np.ndarray, np.ndarray]:
    targets = drawn(rows, 2**30, s.queries, s.seed)
    noise = np.random.default_rng(s.seed).standard_normal(targets.shape).astype(np.float32)
    return unit(targets + 1.2 * unit(noise)), targets


def exact_model_b(s: Settings, rows: int, folder: Path) -> dict:
    """Predict by comparing the queries with all rows, which are read once."""
    queries, targets = queries_and_targets(s, rows)
    parts = parts_of(folder)
    knn = fit_on_disk(DistanceWeightedKNN(NEIGHBORS), parts, parts, folder / "no-index")
    start, cpu = time.perf_counter(), time.process_time()
    cosine = float((knn.predict(queries) * targets).sum(axis=1).mean())
    search, search_cpu = time.perf_counter() - start, time.process_time() - cpu
    found = {"ms_a_query": 1000 * search / len(queries), "cpu_ms_a_query": 1000 * search_cpu / len(queries)}
    return {**found, "avg_cos": cosine, "auto": choose_index(rows, DIM)[0]}


def model_b(index: str):
    """Fit on disk, predict, and compare with exact search."""

    def stage(s: Settings, rows: int, folder: Path) -> dict:
        queries, targets = queries_and_targets(s, rows)
        parts, place = parts_of(folder), folder / f"index-{index}"
        start, cpu = time.perf_counter(), time.process_time()
        knn = fit_on_disk(DistanceWeightedKNN(NEIGHBORS, index=index), parts, parts, place)
        build, build_cpu = time.perf_counter() - start, time.process_time() - cpu
        knn.predict(queries)  # what is asked for is in the page cache from here on, as far as it fits
        start, cpu = time.perf_counter(), time.process_time()
        knn.predict(queries)
        search, search_cpu = time.perf_counter() - start, time.process_time() - cpu
        found, exact, recall = knn.compare_with_exact(queries)
        cosines = {name: float((x * targets).sum(axis=1).mean()) for name, x in (("found", found), ("exact", exact))}
        return {
            "build_seconds": build,
            "build_cpu_seconds": build_cpu,
            "ms_a_query": 1000 * search / len(queries),
            "cpu_ms_a_query": 1000 * search_cpu / len(queries),
            "recall": recall,
            "avg_cos": cosines["found"],
            "avg_cos_exact": cosines["exact"],
            "disk_mib": disk_mib(place),
        }

    return stage


def probes_of_model_b(s: Settings, rows: int, folder: Path) -> dict:
    """What the index finds, and at which cost, where a smaller or larger share of its cells is searched."""
    queries, targets = queries_and_targets(s, rows)
    keys, values = RowParts(parts_of(folder), at_length_one=True), RowParts(parts_of(folder))
    farthest = DistanceWeightedKNN(NEIGHBORS).hold(keys, values, None).kneighbors(queries)[0][:, -1:]
    index = read_on_disk(folder / "index-ivf_sq8")
    knn = DistanceWeightedKNN(NEIGHBORS, index="ivf_sq8").hold(keys, values, index)
    found = {"cells": index.nlist, "probes": []}
    for share in PROBED:
        index.nprobe = max(1, index.nlist // share)
        knn.predict(queries[:10])
        start = time.process_time()
        cosine = float((knn.predict(queries) * targets).sum(axis=1).mean())
        cost = 1000 * (time.process_time() - start) / len(queries)
        recall = float((knn.kneighbors(queries)[0] <= farthest).mean())
        found["probes"].append({"share": share, "cpu_ms_a_query": cost, "recall": recall, "avg_cos": cosine})
    return found


def filter_captions(s: Settings, rows: int, folder: Path) -> dict:
    vectors = RowParts(parts_of(folder), at_length_one=True)
    start, cpu = time.perf_counter(), time.process_time()
    filtered = filter_by_cells(vectors, THRESHOLD, progress=True)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    left = missed(vectors, THRESHOLD, np.arange(rows), filtered, s.queries) * filtered.kept.sum()
    dropped = int((~filtered.kept).sum())
    found = {"filter_seconds": seconds, "filter_cpu_seconds": cpu, "dropped": dropped}
    return {**found, "recall": float(dropped / (dropped + left))}


def filter_exactly(s: Settings, rows: int, folder: Path) -> dict | None:
    if rows > EXACT_FILTER:
        return None
    vectors = RowParts(parts_of(folder), at_length_one=True)
    by_cells = filter_by_cells(vectors, THRESHOLD).kept
    start, cpu = time.perf_counter(), time.process_time()
    kept = filter_similar(vectors[:], THRESHOLD).kept
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    found = {"filter_seconds": seconds, "filter_cpu_seconds": cpu, "dropped": int((~kept).sum())}
    return {
        **found,
        "recall": float((~by_cells & ~kept).sum() / (~kept).sum()),
        "differ": int((kept != by_cells).sum()),
    }


def blend_members(s: Settings, rows: int, folder: Path) -> dict:
    """Two members, each the targets disturbed; the weights are fitted on the first rows, at most 100,000."""
    seconds, cpu, cosines, weights = 0.0, 0.0, 0.0, None
    for number, part in enumerate(parts_of(folder)):
        targets = np.asarray(part, dtype=np.float32)
        members = [disturbed(targets, [s.seed, number, member], length) for member, length in enumerate((1.0, 1.4))]
        start, cpu_start = time.perf_counter(), time.process_time()
        if weights is None:
            weights = fit_weights([member[:100_000] for member in members], targets[:100_000])
        blended = blend(members, weights).astype(np.float16)
        np.save(folder / f"blend-{number:05}.npy", blended)
        seconds, cpu = seconds + time.perf_counter() - start, cpu + time.process_time() - cpu_start
        cosines += float((blended * targets).sum(dtype=np.float64))
    size = sum(file.stat().st_size for file in folder.glob("blend-*.npy")) / 2**20
    for file in folder.glob("blend-*.npy"):
        file.unlink()
    return {"blend_seconds": seconds, "blend_cpu_seconds": cpu, "avg_cos": cosines / rows, "disk_mib": size}


def disturbed(targets: np.ndarray, seed: list[int], length: float) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal(targets.shape, dtype=np.float32) / DIM**0.5
    return unit(targets + length * noise)


def write_csv(s: Settings, rows: int, folder: Path) -> dict | None:
    if rows > CSV_ROWS:
        return None
    ids = np.array([f"image_{row:08}" for row in range(rows)], dtype=object)
    predictions = Embeddings(ids, RowParts(parts_of(folder))[:])
    file = folder / "submission.csv"
    start, cpu = time.perf_counter(), time.process_time()
    write_submission(predictions, file)
    written, written_cpu = time.perf_counter() - start, time.process_time() - cpu
    check_written(predictions, file)
    size = file.stat().st_size / 2**20
    file.unlink()
    return {"write_seconds": written, "write_cpu_seconds": written_cpu, "disk_mib": size}


STAGES = {
    "rows": draw_rows,
    "model_b_exact": exact_model_b,
    "model_b_ivf_sq8": model_b("ivf_sq8"),
    "model_b_probes": probes_of_model_b,
    "model_b_ivf_pq": model_b("ivf_pq"),
    "filter": filter_captions,
    "filter_exact": filter_exactly,
    "blend": blend_members,
    "submission": write_csv,
}


def disk_mib(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 2**20


if __name__ == "__main__":
    main()
