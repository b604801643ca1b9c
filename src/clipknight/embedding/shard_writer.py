"""Writing embeddings part by part, each whole or not at all; after a kill the parts that are there stay."""

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from clipknight.embedding.embeddings import DTYPES, Embeddings
from clipknight.embedding.id_index import IdIndex, write_merged
from clipknight.embedding.shards import MANIFEST, Part, ShardedEmbeddings
from clipknight.files import atomic_file, atomic_folder
from clipknight.messages import a_few
from clipknight.saved_files import read_description

import numpy as np

BEGUN = "begun.json"  # what the parts are of, until they are all there
FILES = ("vectors.npy", "ids.parquet")  # of a part, in the order of its digest
OWN = {MANIFEST, BEGUN, "parts", "index"}  # all that is in a folder of parts


@dataclass(frozen=True)
class PartRecord:
    """What the manifest says of a part; `left_out` maps what had no row to the reason."""

    name: str
    rows: int
    dim: int
    dtype: str
    sha256: str
    left_out: dict
    meta: dict


class ShardWriter:
    """Parts for `folder`, whose rows `meta` describes, as `dtype`. One process writes.

    ValueError where the parts that are there were begun of something else.
    """

    def __init__(self, folder: str | Path, meta: Mapping, dtype: str = "float32"):
        if dtype not in DTYPES:
            raise ValueError(f"parts are of {' or '.join(DTYPES)}, not {dtype}")
        self.folder, self.meta, self.dtype = Path(folder), dict(meta), dtype
        self.remedy = f"delete {folder} to begin anew"
        begun = {"meta": self.meta, "dtype": dtype}
        if (self.folder / BEGUN).is_file():
            if read_description(self.folder / BEGUN, self.remedy) != json.loads(json.dumps(begun)):
                raise ValueError(f"the parts in {folder} were begun with other settings: {self.remedy}")
        else:
            with atomic_file(self.folder / BEGUN) as temporary:
                temporary.write_text(json.dumps(begun, indent=1, ensure_ascii=False), encoding="utf-8")
        for left in (self.folder / "parts").glob(".*.partial"):  # of a killed command
            shutil.rmtree(left)
        self._records = {record.name: record for record in self._found()}

    @property
    def finished(self) -> dict[str, PartRecord]:
        """The parts that are there and whole, by name."""
        return dict(self._records)

    def add(
        self,
        name: str,
        ids: Sequence[str],
        vectors: np.ndarray,
        left_out: Mapping[str, str] | None = None,
        meta: Mapping | None = None,
    ) -> None:
        """Write a part, which appears whole. ValueError as of `Embeddings`.

        `left_out` maps what has no row to the reason; `meta` is what is known of rows once there are some.
        """
        known = dict(meta or {})
        rows = Embeddings(np.asarray(ids, dtype=object), np.asarray(vectors, dtype=self.dtype), self.meta | known)
        with atomic_folder(self.folder / "parts" / name) as temporary:
            rows.write_to(temporary, self.dtype)
            IdIndex.of(rows.ids).save(temporary / "index")
            record = PartRecord(name, len(rows), rows.dim, self.dtype, _digest(temporary), dict(left_out or {}), known)
            text = json.dumps(asdict(record), indent=1, ensure_ascii=False)
            (temporary / "part.json").write_text(text, encoding="utf-8")
        self._records[name] = record

    def finish(self, names: Sequence[str]) -> ShardedEmbeddings:
        """Write the index and the manifest of the parts `names`, in that order; others are deleted.

        ValueError for parts that are missing, of several dims, or without any row, and for ids that two of them have.
        """
        if missing := [name for name in names if name not in self._records]:
            raise ValueError(f"{len(missing):,} of {len(names):,} parts of {self.folder} are missing: {a_few(missing)}")
        records = [self._records[name] for name in names]
        filled = [record for record in records if record.rows]
        if not filled:
            raise ValueError(f"{self.folder} would have no row: nothing could be read")
        if len(dims := {record.dim for record in filled}) > 1:
            raise ValueError(f"the parts of {self.folder} have rows of {a_few(sorted(dims))} numbers: {self.remedy}")
        if any(record.meta != filled[0].meta for record in filled):
            raise ValueError(f"the parts of {self.folder} were not all made by the same: {self.remedy}")
        left_out = sum(len(record.left_out) for record in records)
        each = tuple(Part(self.folder / "parts" / record.name, record.rows, self.remedy) for record in filled)
        meta = self.meta | filled[0].meta
        rows = ShardedEmbeddings(self.folder, each, dims.pop(), np.dtype(self.dtype), meta, left_out)
        with atomic_folder(self.folder / "index") as temporary:
            write_merged([part.index for part in each], temporary, lambda twice: _duplicates(rows, twice))
        self._write_manifest(rows, records)
        for name in self._records.keys() - set(names):
            shutil.rmtree(self.folder / "parts" / name)
        (self.folder / BEGUN).unlink()
        return rows

    def _write_manifest(self, rows: ShardedEmbeddings, records: Sequence[PartRecord]) -> None:
        """What is in `folder`, in one file; its parts list what was left out, it counts them."""
        parts = [{"name": r.name, "rows": r.rows, "sha256": r.sha256, "left_out": len(r.left_out)} for r in records]
        manifest = {"rows": len(rows), "dim": rows.dim, "dtype": self.dtype, "meta": rows.meta, "parts": parts}
        with atomic_file(self.folder / MANIFEST) as temporary:
            temporary.write_text(json.dumps(manifest, indent=1, ensure_ascii=False), encoding="utf-8")

    def _found(self) -> Iterator[PartRecord]:
        """The parts that an earlier command left; one whose files are not as they were written is deleted."""
        for file in sorted((self.folder / "parts").glob("*/part.json")):
            record = PartRecord(**read_description(file, self.remedy))
            if _digest(file.parent) == record.sha256:
                yield record
            else:
                shutil.rmtree(file.parent)


def make_way(folder: Path, overwrite: bool) -> None:
    """Delete finished rows that are to be replaced. FileExistsError for those that stay, and for anything else there.

    Parts that a killed command left stay, to be gone on with.
    """
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if folder.exists() and not (folder.is_dir() and there <= OWN):
        raise FileExistsError(f"{folder} is there and is no folder of rows in parts: choose another --out")
    if MANIFEST in there and not overwrite:
        raise FileExistsError(f"{folder} exists: pass --overwrite to replace it")
    if MANIFEST in there:
        shutil.rmtree(folder)


def _digest(part: Path) -> str:
    """Of a part's vectors and ids."""
    digest = hashlib.sha256()
    for name in FILES:
        with open(part / name, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _duplicates(rows: ShardedEmbeddings, twice: list[int]) -> ValueError:
    """The error for rows whose ids are others' too."""
    some = np.array(twice[:10])
    places = sorted(zip(rows.ids_at(some), (rows.part_of(row) for row in twice)))
    listed = a_few(f"{i} in {part}" for i, part in places)
    return ValueError(
        f"{rows.folder}: ids of {len(twice):,} rows are not of one alone: {listed}: name the images apart, delete the "
        "folder and begin anew"
    )
