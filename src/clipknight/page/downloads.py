"""The files that a user of the page takes home."""

from pathlib import Path

from clipknight.data.names import ids_of
from clipknight.data.result_files import write_captions
from clipknight.data.subtitles import write_subtitles
from clipknight.embedding.embeddings import Embeddings
from clipknight.ensemble.submission import write_submission
from clipknight.page.captioning import Results

import pandas as pd


def written(results: Results, folder: Path) -> dict[str, str]:
    """Paths by kind: captions.csv and captions.json, of one clip's shots subtitles, of predictions submission.csv."""
    if not results.items:
        return {}
    captions = {item.name: item.caption for item in results.items}
    paths = {"CSV": folder / "captions.csv", "JSON": folder / "captions.json"}
    for path in paths.values():
        write_captions(captions, path)
    if all(item.shot for item in results.items) and len({item.path for item in results.items}) == 1:
        shots = [(item.shot, item.caption) for item in results.items]
        paths |= {kind: folder / f"captions.{kind.lower()}" for kind in ("SRT", "VTT")}
        write_subtitles(shots, paths["SRT"])
        write_subtitles(shots, paths["VTT"])
    if results.predictions is not None:
        paths["submission"] = folder / "submission.csv"
        write_submission(_named_as_submitted(results.predictions), paths["submission"])
    return {kind: str(path) for kind, path in paths.items()}


def _named_as_submitted(rows: Embeddings) -> Embeddings:
    """Without suffixes, as predict.py names a folder's images; those that would then share a name keep theirs."""
    names = pd.Series(rows.ids, dtype="str")
    ids = ids_of(names)
    return Embeddings(ids.where(~ids.duplicated(keep=False), names).to_numpy(), rows.vectors, rows.meta)
