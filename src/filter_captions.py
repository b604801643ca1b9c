"""Drop captions that nearly repeat others: a caption is left out if its cosine to one already kept exceeds a threshold.

Cosines are of target embeddings (Che et al. 2023, 3.5.2). Written are the captions kept, which `--keep` of the training
scripts reads and which is itself a table of captions, and beside it who dropped the others (…-dropped.csv).

    python src/filter_captions.py --data input/flickr8k --out outputs/filtered/flickr8k.csv
    python src/train_a.py --data input/flickr8k --keep outputs/filtered/flickr8k.csv --run a_filtered
    python src/filter_captions.py --table captions.csv --threshold 0.9 --order shuffled

Each caption is compared with all kept before it. Of more than a million, which would take hours, it is compared with
those that lie in the same cells of the space; the share of near-repetitions found so is measured and printed.
"""

import csv
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from clipknight.embedding.settings import KeptDataSettings
from clipknight.engines.settings import EngineSettings
from clipknight.errors import parse_early, user_errors
from clipknight.ranges import InsideUnit
from clipknight.settings import parse

ORDERS, COMPARISONS = ("file", "shuffled"), ("auto", "exact", "cells")
LONGEST = 200  # characters of a caption that are shown
EXACT_ROWS = 1_000_000  # compared one by one in about a quarter of an hour, and twice as many in an hour
SAMPLED = 1000  # kept captions that are compared with all others, to say what the cells missed


@dataclass(frozen=True, kw_only=True)
class Settings(EngineSettings, KeptDataSettings):
    """Settings of filter_captions.py"""

    data: str = ""
    """dataset whose training captions are filtered"""
    table: str = ""
    """or a table of image,caption (CSV, Parquet), all of which is; its images are not needed"""
    threshold: InsideUnit = 0.85
    """cosine above which a caption is dropped"""
    order: Literal[ORDERS] = "file"
    """which comes first is kept: file (a dataset's images by name, each one's captions as listed), or shuffled"""
    compared: Literal[COMPARISONS] = "auto"
    """with which others: exact (all), cells (those that share a cell); auto: exact up to a million captions"""
    out: str = ""
    """CSV of the captions kept; by default outputs/filtered/<name>-<threshold>.csv"""


if __name__ == "__main__":
    parse_early(Settings, __doc__)  # --help and typos, before the parts load

from clipknight.data.caption_filter import Filtered, filter_similar
from clipknight.data.caption_table import read_caption_table
from clipknight.data.datasets import Dataset
from clipknight.embedding.cache import target_embeddings
from clipknight.embedding.captioned_dataset import CaptionedDataset
from clipknight.embedding.embeddings import Embeddings
from clipknight.embedding.near_duplicates import filter_by_cells, missed
from clipknight.embedding.row_parts import RowParts
from clipknight.embedding.target_encoder import load_target_encoder
from clipknight.files import atomic_file
from clipknight.messages import a_few, shortened
from clipknight.output_names import check_output
from clipknight.paths import existing, outputs
from clipknight.preparation import prepare_process

import numpy as np
import pandas as pd


@user_errors
def main(argv=None) -> Path:
    s = parse(Settings, argv, __doc__)
    prepare_process(engine=s.where)
    if bool(s.data) == bool(s.table):
        raise ValueError("say what to filter: --data DATASET or --table CSV, one of them")
    for out in (s.out, str(dropped_beside(Path(s.out)))) if s.out else ():
        check_output("--out", out, (".csv",), s.data, s.table, s.images)
    name, captions, targets = captions_of_table(s) if s.table else captions_of_dataset(s)
    order = np.random.default_rng(s.seed).permutation(len(captions)) if s.order == "shuffled" else None
    start = time.perf_counter()
    filtered, note = filtered_by(s, targets.vectors, order)
    seconds = time.perf_counter() - start

    out = Path(s.out) if s.out else outputs() / "filtered" / f"{name}-{s.threshold:g}.csv"
    report = dropped_beside(out)
    with atomic_file(report) as temporary:
        dropped_captions(captions, filtered).to_csv(temporary, index=False, quoting=csv.QUOTE_NONNUMERIC)
    with atomic_file(out) as temporary:
        captions[filtered.kept].to_csv(temporary, index=False, quoting=csv.QUOTE_NONNUMERIC)  # "\r" too
    print_summary(captions, filtered, s.threshold)
    print(f"{seconds:.1f} s of comparing{note}; kept captions -> {out}, the others -> {report}")
    return out


def filtered_by(s: Settings, vectors: np.ndarray, order: np.ndarray | None) -> tuple[Filtered, str]:
    """What is kept of unit rows, and what there is to say of how it was found."""
    if s.compared == "exact" or (s.compared == "auto" and len(vectors) <= EXACT_ROWS):
        return filter_similar(vectors, s.threshold, order, progress=True), ""
    rows = RowParts([vectors], at_length_one=True)
    filtered = filter_by_cells(rows, s.threshold, order, progress=True)
    dropped = int((~filtered.kept).sum())
    left = missed(rows, s.threshold, order, filtered, SAMPLED) * filtered.kept.sum()
    found = dropped / max(1, dropped + left)
    return filtered, f" by cells, which found {found:.1%} of those to drop (from {SAMPLED:,} kept ones at most)"


def captions_of_dataset(s: Settings) -> tuple[str, pd.DataFrame, Embeddings]:
    """A name, the training captions (image, caption) and their targets."""
    train = CaptionedDataset.of(s, text_alone=True).split("train")
    suffixes = train.dataset.images["path"].str.extract(r"(\.[^./]+)$")[0].fillna("")
    images = (train.dataset.images["id"] + suffixes).to_numpy()[train.image_of_caption]
    captions = pd.DataFrame({"image": images, "caption": train.dataset.captions["caption"]})
    return train.dataset.name, captions, train.targets


def captions_of_table(s: Settings) -> tuple[str, pd.DataFrame, Embeddings]:
    """The same of a table."""
    path = existing(s.table)
    rows = read_caption_table(path, s.columns).rows
    if len(blank := rows["number"][rows["caption"].str.strip() == ""]):
        raise ValueError(f"{s.table}: empty captions in rows {a_few(blank)}")
    captions = pd.DataFrame({"image": rows["name"], "caption": rows["caption"]})
    ids = rows["name"] + "#" + rows.groupby("name").cumcount().astype("str")
    dataset = Dataset(path.stem, path.parent, "table", pd.DataFrame(), captions.assign(caption_id=ids))
    encoder = load_target_encoder(s.target_encoder, s.device)
    return path.stem, captions, target_embeddings(encoder, dataset, name=s.target_encoder)


def dropped_beside(out: Path) -> Path:
    """The file of what was dropped, beside that of what was kept."""
    return out.with_name(f"{out.stem}-dropped.csv")


def dropped_captions(captions: pd.DataFrame, filtered: Filtered) -> pd.DataFrame:
    """image, caption, kept_image, kept_caption, cosine: what was dropped, and because of what."""
    by = filtered.dropped_by[~filtered.kept]
    kept = captions.iloc[by].add_prefix("kept_").reset_index(drop=True)
    dropped = captions[~filtered.kept].reset_index(drop=True)
    return pd.concat([dropped, kept], axis=1).assign(cosine=filtered.cosine[~filtered.kept].round(6))


def print_summary(captions: pd.DataFrame, filtered: Filtered, threshold: float, examples: int = 5) -> None:
    dropped = dropped_captions(captions, filtered)
    n_images, left = captions["image"].nunique(), captions["image"][filtered.kept].nunique()
    print(
        f"kept {filtered.kept.sum():,} of {len(captions):,} captions, dropped {len(dropped):,} "
        f"({len(dropped) / len(captions):.1%}) over cosine {threshold:g}; {n_images - left:,} of {n_images:,} images "
        "have none left"
    )
    if len(dropped):
        print("dropped the most:")
        counts = pd.Series(filtered.dropped_by[~filtered.kept]).value_counts(sort=False).sort_index()
        for row, count in counts.sort_values(ascending=False, kind="stable")[:examples].items():
            print(f"  {count:>6,}  {shortened(captions['caption'][row], LONGEST)}")
        print("examples, from the threshold up:")
        ranked = dropped.sort_values("cosine", kind="stable")
        for row in ranked.iloc[np.unique(np.linspace(0, len(ranked) - 1, examples).astype(int))].itertuples():
            shown = f"{shortened(row.caption, LONGEST)}  <-  {shortened(row.kept_caption, LONGEST)}"
            print(f"  {row.cosine:.3f}  {shown}")


if __name__ == "__main__":
    main()
