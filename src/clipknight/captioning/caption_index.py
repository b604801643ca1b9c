"""The captions of a corpus nearest to a vector, by cosine, and the neighbours of each caption among the others."""

from clipknight.captioning.settings import EXCLUDE
from clipknight.embedding.corpora import Corpus
from clipknight.embedding.embeddings import unit
from clipknight.waiting import waiting

import faiss
import numpy as np
import pandas as pd
from tqdm import tqdm

SPARE = 32  # candidates beyond the k asked for, of which exclusion may take some
CHUNK_ROWS = 4096  # queries searched at a time


class CaptionIndex:
    """Search over unit rows `vectors` (M, D): "exact", or "ivf", approximate, for corpora of hundreds of thousands."""

    def __init__(self, vectors: np.ndarray, kind: str = "exact", probes: int = 32):
        self.vectors = np.ascontiguousarray(vectors, dtype=np.float32)
        rows, dim = self.vectors.shape
        flat = faiss.IndexFlatIP(dim)
        if kind == "exact":
            self.index = flat
        elif kind == "ivf":
            cells = max(1, min(int(4 * rows**0.5), rows // 40))
            self.index = faiss.IndexIVFFlat(flat, dim, cells, faiss.METRIC_INNER_PRODUCT)
            with waiting(f"sorting {rows:,} captions into {cells:,} cells"):
                self.index.train(self.vectors[:: max(1, rows // (64 * cells))])
            self.index.nprobe = probes
        else:
            raise ValueError(f"index {kind!r} is neither exact nor ivf")
        self.index.add(self.vectors)

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Cosines (Q, k), falling, and rows (Q, k) of the nearest captions to `queries` (Q, D)."""
        if k > len(self.vectors):
            raise ValueError(f"{k} neighbours asked of a corpus of {len(self.vectors)} captions")
        queries = np.ascontiguousarray(unit(queries), dtype=np.float32)
        cosines, rows = self.index.search(queries, k)
        if (short := rows[:, -1] < 0).any():  # an approximate search that met fewer than k
            cosines[short], rows[short] = faiss.knn(queries[short], self.vectors, k, faiss.METRIC_INNER_PRODUCT)
        return cosines, rows

    def neighbours(self, corpus: Corpus, k: int, exclude: str = "image") -> np.ndarray:
        """Rows (M, k) of each caption's nearest others, nearest first: what Knight learns to caption from (eq. 3).

        Left out are, by `exclude`: the caption itself ("index", as in the authors' code), all of its wording
        ("duplicate"), or all that describe its image too ("image"). ValueError when fewer than k are left.
        """
        if exclude not in EXCLUDE:
            raise ValueError(f"exclude {exclude!r} is none of {', '.join(EXCLUDE)}")
        if k >= len(corpus):
            raise ValueError(f"{k} neighbours of each caption asked of a corpus of {len(corpus)} captions")
        words = pd.Series(corpus.texts).str.lower().str.replace(r"[^\w]+", " ", regex=True).str.strip()
        wording = pd.factorize(words)[0]
        described = corpus.described if exclude == "image" else np.arange(len(corpus))
        found = np.empty((len(corpus), k), dtype=np.int32)
        with tqdm(total=len(corpus), desc=f"{corpus.name}: neighbours", unit="row") as bar:
            for start in range(0, len(corpus), CHUNK_ROWS):
                rows, candidates = np.arange(start, min(start + CHUNK_ROWS, len(corpus))), k + SPARE
                bar.update(len(rows))
                while len(rows):
                    candidates = min(candidates, len(corpus))
                    _, near = self.search(self.vectors[rows], candidates)
                    allowed = near != rows[:, None]
                    if exclude != "index":
                        allowed &= wording[near] != wording[rows][:, None]
                        allowed &= described[near] != described[rows][:, None]
                    enough = allowed.sum(axis=1) >= k
                    first = np.argsort(~allowed[enough], axis=1, kind="stable")[:, :k]
                    found[rows[enough]] = np.take_along_axis(near[enough], first, axis=1)
                    rows = rows[~enough]
                    if len(rows) and candidates == len(corpus):
                        raise ValueError(
                            f"{corpus.texts[rows[0]]!r} has fewer than {k} neighbours in {corpus.name} once its own "
                            f"{exclude} is left out: give a larger corpus, or exclude less"
                        )
                    candidates *= 8
        return found
