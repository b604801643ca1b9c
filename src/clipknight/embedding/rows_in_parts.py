"""Rows of pictures, part by part, by any engine: from archives, folders and URLs to a folder of parts."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from clipknight.data.datasets import Dataset
from clipknight.data.images import find_unreadable
from clipknight.data.left_out import UnreadableMedia
from clipknight.data.picture_parts import Part, listing_digest, picture_parts
from clipknight.devices import pick_device
from clipknight.embedding.cache import image_embeddings
from clipknight.embedding.embeddings import Embeddings
from clipknight.embedding.image_encoder import ImageEncoder
from clipknight.embedding.shard_writer import ShardWriter
from clipknight.embedding.shards import ShardedEmbeddings
from clipknight.engines.workers import Place, results, stretches
from clipknight.files import one_at_a_time
from clipknight.messages import counted
from clipknight.paths import caches_in
from clipknight.waiting import progress_bar, without_progress

import numpy as np

OF_DATASET = {"dataset", "skipped"}  # what a part's rows say of the part alone


class PartRows(NamedTuple):
    """The rows of a part; `left_out` maps what could not be read to the reason, `meta` says what made the rows."""

    ids: np.ndarray
    vectors: np.ndarray
    left_out: dict[str, str]
    meta: dict


@dataclass(frozen=True)
class PictureRows:
    """The work: `open_rows` gives, for a worker, what makes rows of a dataset's images, with these options."""

    open_rows: Callable[[Place], Callable[..., Embeddings]]
    batch_size: int
    skip_unreadable: bool

    def ready(self, place: Place) -> Callable[[Part], PartRows]:
        options = {"batch_size": self.batch_size, "workers": place.readers, "skip_unreadable": self.skip_unreadable}
        rows_of = partial(self.open_rows(place), **options)
        kept = TemporaryDirectory(prefix="clipknight-")  # what is computed once: graphs for all parts, rows for one

        def of_part(part: Part) -> PartRows:
            with part.opened() as dataset, caches_in(kept.name), without_progress():
                rows = self._rows(rows_of, dataset)
            shutil.rmtree(Path(kept.name) / "embeddings", ignore_errors=True)
            return rows

        return of_part

    def _rows(self, rows_of: Callable[[Dataset], Embeddings], dataset: Dataset) -> PartRows:
        try:
            rows = rows_of(dataset)
        except UnreadableMedia as error:
            if not (self.skip_unreadable and len(error.reasons) == len(dataset)):
                raise
            return PartRows(np.empty(0, dtype=object), np.empty((0, 0), np.float32), _named(error.reasons, dataset), {})
        lacking = dataset.images[~dataset.images["id"].isin(rows.ids)]
        meta = {name: value for name, value in rows.meta.items() if name not in OF_DATASET}
        return PartRows(rows.ids, np.array(rows.vectors), _named(find_unreadable(lacking["path"]), dataset), meta)


def _named(reasons: dict[str, str], dataset: Dataset) -> dict[str, str]:
    """Reasons by the ids of the pictures, for the files of archives are gone afterwards."""
    ids = dict(zip(dataset.images["path"], dataset.images["id"]))
    return {ids[path]: reason for path, reason in reasons.items()}


@dataclass(frozen=True)
class OpenEncoder:
    """For a worker: an encoder's embeddings of images, on the worker's device."""

    encoder: ImageEncoder

    def __call__(self, place: Place) -> Callable[..., Embeddings]:
        return partial(image_embeddings, replace(self.encoder, device=pick_device(place.device)))


def write_rows_of_pictures(source: str, work: PictureRows, out: Path, made_by: dict, readers: int) -> ShardedEmbeddings:
    """Do `work` for each part of `source` that is not in `out` yet; `made_by` names what makes the rows.

    FileNotFoundError where there are no pictures; ValueError for parts in `out` of other pictures, or made by another.
    """
    parts = picture_parts(source, lambda count: stretches(count, work.batch_size))
    with one_at_a_time(out):
        writer = ShardWriter(out, {**made_by, "source": source, "listing": listing_digest(parts)})
        missing = [number for number, part in enumerate(parts) if part.name not in writer.finished]
        done = len(parts) - len(missing)
        with progress_bar(total=len(parts), initial=done, desc=Path(source).name, unit="part") as bar:
            for number, rows in results(work, parts, missing, readers):
                writer.add(parts[number].name, rows.ids, rows.vectors, rows.left_out, rows.meta)
                bar.update()
        return writer.finish([part.name for part in parts])


def summary(rows: ShardedEmbeddings) -> str:
    """In a few words: "1,000 images in 4 parts, 2 unreadable ones skipped"."""
    skipped = f", {rows.left_out:,} unreadable ones skipped" if rows.left_out else ""
    return f"{counted(len(rows), 'image')} in {counted(len(rows.each), 'part')}{skipped}"
