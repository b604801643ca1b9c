"""The map of a corpus: what is alike lies together, a region is named by its words, names in it are text."""

from types import SimpleNamespace

from clipknight.embedding.embeddings import unit
from clipknight.page.corpus_map import WORDS, CorpusMap

import numpy as np


def retriever_of(texts, vectors):
    return SimpleNamespace(corpus=SimpleNamespace(texts=texts), vectors=unit(vectors).astype(np.float32))


def test_pictures_lie_where_their_captions_do_and_regions_have_words():
    draw, names = np.random.default_rng(0), ("dogs", "boats", "trains")
    texts = [f"the {name} here" for name in names for _ in range(20)]
    vectors = np.eye(8)[:3].repeat(20, axis=0) + 0.05 * draw.standard_normal((60, 8))
    made = CorpusMap.of(retriever_of(texts, vectors))
    groups = made.places(vectors).reshape(3, 20, 2)
    spread = groups.std(axis=1).max()
    middles = groups.mean(axis=1)
    assert min(np.linalg.norm(middles[i] - middles[j]) for i, j in ((0, 1), (0, 2), (1, 2))) > 5 * spread
    assert {word for word, _ in made.words} == {*names} and len(made.words) <= WORDS
    for word, place in made.words:
        assert np.linalg.norm(middles - place, axis=1).argmin() == names.index(word)


def test_the_drawing_holds_captions_as_text():
    made = CorpusMap.of(retriever_of(["<b>a</b> & the"] * 3, np.eye(4)[:3]))
    svg = made.drawing(np.eye(4)[0], np.eye(4)[:2], ["<script>x</script>", "a & b"])
    assert "<script" not in svg and "&lt;script&gt;" in svg and "a &amp; b" in svg
    assert svg.count("<title>") == 2 and svg.count('class="picture"') == 1
