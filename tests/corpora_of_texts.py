"""A corpus of given texts."""

from clipknight.embedding.corpora import Corpus

import pandas as pd


def corpus_of(texts):
    ids = [f"c/{i}" for i in range(len(texts))]
    return Corpus("c", pd.DataFrame({"source": "c", "id": ids, "caption": texts, "caption_id": ids}))
