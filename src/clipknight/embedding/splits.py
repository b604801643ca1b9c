"""Splits and folds that keep similar captions together.

Near-duplicate captions on both sides of a random split leak, and KNN profits most. Groups are connected components of
the graph that joins two images when any of their captions' cosine reaches the threshold (5th place of the competition
that Che et al. 2023 follow: 0.7).
"""

import hashlib
from pathlib import Path

from clipknight.data.datasets import Dataset
from clipknight.embedding.embeddings import Embeddings
from clipknight.files import atomic_file
from clipknight.processes import in_main_process, wait_for_everyone

import faiss
import numpy as np
import pandas as pd

QUERIES, HELD_PAIRS = 2048, 2**23  # captions searched for at a time at most, and pairs of similar ones held
SHARES = {"train": 0.8, "valid": 0.1, "test": 0.1}


def similarity_groups(targets: Embeddings, image_ids: np.ndarray, threshold: float = 0.7) -> pd.Series:
    """Group number of each image id. `targets` (M, D) unit rows; `image_ids` (M,) says whose caption each row is.

    Exact range search, one block of queries at a time: however many captions are alike, no more than HELD_PAIRS pairs
    are held.
    """
    images = pd.Index(pd.unique(np.asarray(image_ids)))
    node = images.get_indexer(np.asarray(image_ids))
    index = faiss.IndexFlatIP(targets.dim)
    vectors = np.ascontiguousarray(targets.vectors, dtype=np.float32)
    index.add(vectors)
    groups = np.arange(len(images))
    step = max(1, min(QUERIES, HELD_PAIRS // len(vectors)))
    for start in range(0, len(vectors), step):
        limits, _, neighbours = index.range_search(vectors[start : start + step], threshold)
        source = np.repeat(node[start : start + step], np.diff(limits).astype(np.int64))
        groups = _joined(groups, source, node[neighbours])
    return pd.Series(pd.factorize(groups)[0], index=images)


def _joined(groups: np.ndarray, images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The groups (N,) once each of `images` is in one group with the one at its place in `others`."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    count = len(groups)
    rows, columns = np.divmod(np.unique(groups[images] * count + groups[others]), count)
    graph = coo_matrix((np.ones(len(rows), np.int8), (rows, columns)), shape=(count, count))
    return connected_components(graph, directed=False)[1][groups]


def grouped_split(
    groups: pd.Series, shares: dict[str, float] = SHARES, seed: int = 0, twins: pd.Series | None = None
) -> pd.Series:
    """Split of each image, whole groups at a time, seeded: each group goes where the most room is left.

    A group too large for any held-out share goes to the first split named. No split is left empty: where whole groups
    would leave one so, as where all captions are alike, the images of the largest group are shared out one by one,
    those of one number in `twins` together if that will do. Of fewer images than splits the first splits are made.
    ValueError for fewer than two.
    """
    if len(groups) < 2:
        raise ValueError(
            f"{len(groups)} images with captions are too few to make train and valid of: two are the least"
        )
    shares = dict(list(shares.items())[: len(groups)])
    split = _shared_out(groups, shares, seed)
    single = pd.Series(np.arange(len(groups)), index=groups.index)
    for parts in (single if twins is None else twins, single):
        if set(split) < set(shares):
            largest = groups == groups.value_counts().idxmax()
            split = _shared_out(groups.where(~largest, groups.max() + 1 + parts), shares, seed)
    return split


def sizes_of(groups: pd.Series) -> str:
    """How many groups there are and how large: "12 groups of similar captions, the largest of …"."""
    sizes, single = groups.value_counts(), int((groups.value_counts() == 1).sum())
    largest = ", ".join(f"{size:,}" for size in sizes[:3])
    return f"{len(sizes):,} groups of similar captions, the largest of {largest} images, {single:,} of one alone"


def _shared_out(groups: pd.Series, shares: dict[str, float], seed: int) -> pd.Series:
    sizes = groups.value_counts()
    order = np.random.default_rng(seed).permutation(np.sort(sizes.index))
    room = {name: max(1, share * len(groups)) for name, share in shares.items()}
    first = next(iter(shares))
    chosen = {}
    for group in sorted(order, key=lambda g: -sizes[g]):  # stable: the permutation breaks ties
        name = max(room, key=lambda n: room[n] / shares[n])
        name = name if room[name] >= sizes[group] else first
        chosen[group] = name
        room[name] -= sizes[group]
    return groups.map(chosen)


def with_made_split(dataset: Dataset, targets: Embeddings, folder: str | Path, seed: int = 0) -> Dataset:
    """`dataset` with a split: its own, else the one saved in `folder`, else one made by similarity groups and saved."""
    if dataset.has_splits:
        return dataset
    digest = hashlib.sha256("\n".join(dataset.ids).encode()).hexdigest()[:12]  # datasets may share a folder's name
    file = Path(folder) / f"split-{digest}-seed{seed}.csv"
    if in_main_process() and not file.is_file():
        groups = similarity_groups(targets, dataset.captions["id"].to_numpy())
        lists = dataset.caption_lists()  # as two radiographs have one report
        twins = pd.Series(pd.factorize(pd.Series([tuple(lists[i]) for i in groups.index]))[0], index=groups.index)
        split = grouped_split(groups, seed=seed, twins=twins)
        with atomic_file(file) as temporary:
            split.rename_axis("id").rename("split").to_csv(temporary)
        counts = ", ".join(f"{name} {(split == name).sum():,}" for name in SHARES)
        print(f"{dataset.name} names no split: made one ({counts}) by {sizes_of(groups)}, {file}")
        if (split.groupby(groups).nunique() > 1).any():
            alike = groups.value_counts().max()
            print(
                f"captions of {alike:,} of {len(groups):,} images are alike, and they were shared out one by one: "
                "valid and test hold captions that train has too, and flatter. A split of your own goes before this one"
            )
    wait_for_everyone()
    split = _read_split(file, dataset.captions["id"])
    # Images without captions cannot be grouped or scored: they are there to be predicted.
    return dataset.with_split(split.reindex(dataset.ids, fill_value="test"))


def _read_split(file: Path, captioned: pd.Series) -> pd.Series:
    """The saved split by image id. ValueError unless it gives every captioned image one of SHARES."""
    try:
        split = pd.read_csv(file, dtype=str, keep_default_na=False).set_index("id")["split"]
        whole = split.isin(SHARES).all() and split.index.is_unique and captioned.isin(split.index).all()
    except (ValueError, KeyError):  # no CSV, or other columns
        whole = False
    if not whole:
        raise ValueError(f"{file} does not give each image one of {', '.join(SHARES)}: delete it to make it again")
    return split
