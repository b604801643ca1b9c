"""Captions a second by batch size and precision, and neighbour searches a second in a large corpus by index.

    python benchmarks/captioning_speed.py --run input/models/starter/knight [--corpus coco] [--corpus_share 1]

One caption at a time in fp32 by transformers is how the published implementations decode; all ways share weights,
queries and beam.
"""

import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from clipknight.captioning.caption_index import CaptionIndex
from clipknight.captioning.captioner import CaptionOptions
from clipknight.captioning.decoding import Decoder
from clipknight.captioning.knight import load_knight
from clipknight.captioning.retriever import CorpusChoice
from clipknight.devices import pick_precision
from clipknight.errors import user_errors
from clipknight.methods.registry import open_captioner
from clipknight.settings import parse
from clipknight.training.runs import Run, machine

import numpy as np
import torch


@dataclass(frozen=True)
class Settings:
    """Settings of captioning_speed.py"""

    run: str = "input/models/starter/knight"
    """run of train_knight.py"""
    corpus: list[str] = field(default_factory=list)
    """captions to search, in place of the run's"""
    corpus_share: float = 0.0
    """share of the corpus; 0 for the run's own"""
    captions: int = 256
    """captions decoded in batches; an eighth of them one at a time"""
    queries: int = 1000
    """of the neighbour search"""
    num_beams: int = 5
    """of the beam search"""
    rerank: int = 1
    """beams among which the caption is chosen"""
    rounds: int = 3
    """of which the median is taken"""
    batch_size: int = 64
    """captions at a time"""


@user_errors
def main(argv=None) -> None:
    s = parse(Settings, argv, __doc__)
    run = Run.open(s.run)
    captioner = open_captioner(run, corpus=CorpusChoice(s.corpus, share=s.corpus_share))
    vectors, k = captioner.retriever.vectors, captioner.n_neighbors
    print(f"{s.run}, {len(vectors):,} captions of {captioner.retriever.corpus.name}, beam {s.num_beams}, {machine()}\n")
    draw = np.random.default_rng(0)
    # Captions of the corpus, disturbed about as far as a prediction lies from its image's captions.
    noise = draw.standard_normal((s.queries, vectors.shape[1])).astype(np.float32) / vectors.shape[1] ** 0.5
    queries = vectors[draw.choice(len(vectors), s.queries)] + 1.2 * noise

    device, precise = captioner.method.decoder.device, torch.float32
    ways = {"transformers, 1 at a time": (True, 1, precise)}
    ways[f"transformers, {s.batch_size} at a time"] = True, s.batch_size, precise
    ways[f"{s.batch_size} at a time"] = False, s.batch_size, precise
    if (auto := pick_precision("auto", device)) != precise:
        ways[f"{s.batch_size} at a time in {str(auto).partition('.')[2]}"] = False, s.batch_size, auto
    loaded, opened = [load_knight(run.folder / "best", kind)[:2] for kind in (False, True)], {}
    for way, (by_transformers, batch_size, precision) in ways.items():
        model, tokenizer = loaded[by_transformers]
        decoder = Decoder(model.to(device), tokenizer, precision, batch_size)
        opened[way] = replace(captioner, method=replace(captioner.method, decoder=decoder))

    print("| decoding | captions/s | ratio | same as one at a time |\n|---|---|---|---|")
    seconds, texts, options = {way: [] for way in ways}, {}, CaptionOptions(s.num_beams, rerank=s.rerank)
    for _ in range(1 + s.rounds):  # the ways take turns; the first round warms up
        for way, one in opened.items():
            some = queries[: max(1, s.captions // 8) if ways[way][1] == 1 else s.captions]
            start = time.perf_counter()
            texts[way] = one.caption(some, options).texts
            seconds[way].append((time.perf_counter() - start) / len(some))
    alone = texts["transformers, 1 at a time"]
    rates = {way: 1 / median(taken[1:]) for way, taken in seconds.items()}
    for way, rate in rates.items():
        same = np.mean([a == b for a, b in zip(alone, texts[way])])
        print(f"| {way} | {rate:.1f} | {rate / rates['transformers, 1 at a time']:.1f} | {same:.0%} |")

    print("\n| index | queries/s | ratio | build, s | recall |\n|---|---|---|---|---|")
    exact = None
    for kind in ("exact", "ivf"):
        start = time.perf_counter()
        index = CaptionIndex(vectors, kind)
        build, start = time.perf_counter() - start, time.perf_counter()
        _, rows = index.search(queries, k)
        rate = s.queries / (time.perf_counter() - start)
        exact = exact or (rate, rows)
        recall = np.mean([len(np.intersect1d(a, b)) / k for a, b in zip(exact[1], rows)])
        print(f"| {kind} | {rate:.0f} | {rate / exact[0]:.1f} | {build:.1f} | {recall:.3f} |")


if __name__ == "__main__":
    main()
