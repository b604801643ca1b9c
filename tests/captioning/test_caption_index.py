from clipknight.captioning import caption_index
from clipknight.captioning.caption_index import CaptionIndex
from clipknight.embedding.corpora import Corpus
from clipknight.embedding.embeddings import unit

import numpy as np
import pandas as pd
import pytest

MANY = 60  # captions of one wording: more than are looked at first


def corpus_of(texts, images):
    ids = [str(image) for image in images]
    return Corpus("c", pd.DataFrame({"source": "c", "id": ids, "caption": texts, "caption_id": range(len(texts))}))


@pytest.fixture(scope="module")
def many():
    """100 images of three captions; some wordings recur, with other case and punctuation, one of them often."""
    draw = np.random.default_rng(0)
    images = np.arange(300) // 3
    words = [f"Wording {i // 2}." if i % 2 else f"wording  {i // 2}!" for i in range(300 - MANY)]
    texts = np.array([*words, *["A man, surfing."] * MANY], dtype=object)
    centres = draw.standard_normal((150, 16))
    vectors = np.concatenate([centres[np.arange(300 - MANY) // 2], np.tile(centres[-1:], (MANY, 1))])
    vectors = unit(vectors + 0.1 * draw.standard_normal(vectors.shape)).astype(np.float32)
    order = draw.permutation(300)
    return vectors[order], corpus_of(texts[order], images)


def wording(text):
    return "".join(letter if letter.isalnum() else " " for letter in text.lower()).split()


def by_loop(vectors, corpus, k, exclude):
    texts, images, found = [wording(text) for text in corpus.texts], corpus.captions["id"].tolist(), []
    for row in range(len(texts)):
        kept = []
        for other in np.argsort(-(vectors @ vectors[row]), kind="stable"):
            same_text = texts[other] == texts[row] and exclude != "index"
            same_image = images[other] == images[row] and exclude == "image"
            if other != row and not same_text and not same_image:
                kept.append(other)
        found.append(kept[:k])
    return np.array(found)


@pytest.mark.parametrize("exclude", ["index", "duplicate", "image"])
def test_neighbours_are_those_of_a_plain_loop(many, monkeypatch, exclude):
    vectors, corpus = many
    monkeypatch.setattr(caption_index, "CHUNK_ROWS", 128)
    found = CaptionIndex(vectors).neighbours(corpus, 5, exclude)
    np.testing.assert_array_equal(found, by_loop(vectors, corpus, 5, exclude))


def test_a_wording_more_frequent_than_the_first_candidates(many):
    vectors, corpus = many
    often = np.flatnonzero(corpus.texts == "A man, surfing.")
    assert len(often) > caption_index.SPARE + 5
    index = CaptionIndex(vectors)
    assert np.isin(index.neighbours(corpus, 5, "index")[often], often).all()
    assert not np.isin(index.neighbours(corpus, 5, "duplicate")[often], often).any()


def test_all_others_can_be_asked_for(many):
    vectors, _ = many
    corpus = corpus_of([f"caption {'x' * i}" for i in range(40)], range(40))
    found = CaptionIndex(vectors[:40]).neighbours(corpus, 39, "image")
    assert (np.sort(np.column_stack([np.arange(40), found])) == np.arange(40)).all()


@pytest.mark.parametrize("exclude, enough", [("duplicate", 4), ("image", 3)])
def test_too_small_a_corpus(exclude, enough):
    """Two wordings are the same, two more captions describe the same image."""
    corpus = corpus_of(["a dog", "A dog.", "a cat", "one bird", "two birds", "red"], "aabacd")
    index = CaptionIndex(unit(np.random.default_rng(0).standard_normal((6, 4))).astype(np.float32))
    assert index.neighbours(corpus, enough, exclude).shape == (6, enough)
    with pytest.raises(ValueError, match=f"'a dog' has fewer than {enough + 1} neighbours in c once its own {exclude}"):
        index.neighbours(corpus, enough + 1, exclude)


@pytest.mark.parametrize("k", [6, 7, 100])
def test_more_neighbours_than_other_captions(k):
    index, corpus = CaptionIndex(np.eye(6, dtype=np.float32)), corpus_of([f"{'x' * i}" for i in range(6)], range(6))
    with pytest.raises(ValueError, match=f"{k} neighbours of each caption asked of a corpus of 6 captions"):
        index.neighbours(corpus, k)


def test_a_search_scales_its_queries(many):
    vectors, _ = many
    queries = np.random.default_rng(1).standard_normal((7, 16))
    cosines, rows = CaptionIndex(vectors).search(queries * 5, 4)
    expected = unit(queries) @ vectors.T
    np.testing.assert_array_equal(rows, np.argsort(-expected, axis=1)[:, :4])
    np.testing.assert_allclose(cosines, -np.sort(-expected, axis=1)[:, :4], atol=1e-5)


def test_more_neighbours_than_captions(many):
    with pytest.raises(ValueError, match="301 neighbours asked of a corpus of 300 captions"):
        CaptionIndex(many[0]).search(many[0][:1], 301)


@pytest.fixture(scope="module")
def clustered():
    draw = np.random.default_rng(0)
    vectors = draw.standard_normal((60, 16))[draw.integers(60, size=4000)] + 0.5 * draw.standard_normal((4000, 16))
    return unit(vectors).astype(np.float32), corpus_of([f"{i}" for i in range(4000)], np.arange(4000) // 4)


def test_the_approximate_index_is_close_to_the_exact(clustered):
    vectors, corpus = clustered
    exact, approximate = CaptionIndex(vectors), CaptionIndex(vectors, "ivf", probes=8)
    assert approximate.index.nlist == 100
    for near in (lambda index: index.search(vectors[:500] + 0.1, 5)[1], lambda index: index.neighbours(corpus, 5)):
        shared = [len(np.intersect1d(a, b)) / 5 for a, b in zip(near(exact), near(approximate), strict=True)]
        assert 0.95 < np.mean(shared) < 1


def test_an_approximate_search_is_never_short(clustered):
    vectors, _ = clustered
    cosines, rows = CaptionIndex(vectors, "ivf", probes=1).search(vectors[:3], 500)
    expected, _ = CaptionIndex(vectors).search(vectors[:3], 500)
    assert [len(set(row)) for row in rows] == [500] * 3 and rows.min() >= 0
    np.testing.assert_allclose(cosines, expected, atol=1e-5)


def test_an_approximate_index_of_a_few_captions():
    vectors = np.eye(6, dtype=np.float32)
    np.testing.assert_array_equal(CaptionIndex(vectors, "ivf").search(vectors, 1)[1].ravel(), range(6))


def test_unknown_names(many):
    with pytest.raises(ValueError, match="index 'hnsw' is neither exact nor ivf"):
        CaptionIndex(many[0], "hnsw")
    with pytest.raises(ValueError, match="exclude 'self' is none of index, duplicate, image"):
        CaptionIndex(many[0]).neighbours(many[1], 5, "self")
