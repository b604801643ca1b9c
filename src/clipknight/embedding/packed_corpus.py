"""A corpus with its vectors as files of a run: captions.parquet, and vectors.safetensors in the same order."""

from pathlib import Path

from clipknight.embedding.corpora import Corpus
from clipknight.embedding.embeddings import unit
from clipknight.embedding.stored_rows import restored_rows, stored_rows
from clipknight.saved_files import read_noted_tensors

import numpy as np
import pandas as pd
import torch
from safetensors.numpy import save_file

PACKED = "corpus"  # folder of a run that comes with its corpus
VECTORS = "vectors.safetensors"
REMEDY = "take it again from where the run came from, or delete the folder: its corpus is read and embedded anew then"
COLUMNS = ["source", "id", "caption", "caption_id"]


def write_packed_corpus(corpus: Corpus, vectors: np.ndarray, folder: Path, bits: int = 32) -> None:
    """Write the corpus and its unit rows (M, D), in so many bits a number, into a new `folder`."""
    folder.mkdir(parents=True)
    corpus.captions[COLUMNS].to_parquet(folder / "captions.parquet", index=False)
    rows = stored_rows("vectors", np.asarray(vectors, np.float32), bits)
    save_file(rows, folder / VECTORS, {"corpus": corpus.name})


def read_packed_corpus(folder: Path, share: float, seed: int) -> tuple[Corpus, np.ndarray]:
    """The corpus, a seeded `share` of it, and its unit rows (M, D) float32."""
    try:
        captions = pd.read_parquet(folder / "captions.parquet", columns=COLUMNS)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"{folder / 'captions.parquet'} holds no captions ({str(error)[:120]}): {REMEDY}") from error
    tensors, notes = read_noted_tensors(folder / VECTORS, REMEDY)
    rows = restored_rows("vectors", tensors)
    if rows.ndim != 2 or len(rows) != len(captions):
        raise ValueError(f"{folder} has {len(captions):,} captions and vectors of the shape {rows.shape}: {REMEDY}")
    if tensors["vectors"].dtype != torch.float32:
        rows = unit(rows)  # fewer bits lost the length 1
    corpus = Corpus(notes["corpus"], captions)
    if share == 1:
        return corpus, rows
    kept = corpus.share(share, seed)
    return kept, rows[captions["caption_id"].isin(kept.captions["caption_id"]).to_numpy()]
