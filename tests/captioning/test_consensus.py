"""Choice among captions by what is said of similar images."""

from clipknight.captioning.consensus import Consensus

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer

CORPUS = np.array(
    ["a dog runs on grass", "a brown dog runs", "a cat sits on a sofa", "two men play chess", "a dog on the grass"],
    dtype=object,
)


def test_scores_are_the_mean_of_the_cosines_with_each_neighbour():
    """By hand, pair by pair: what a candidate says more often than the neighbour counts as often as it does."""
    candidates = ["a dog runs", "a cat sleeps on a sofa", "a dog and a dog on a dog", "a dog on grass"]
    rows = np.array([[0, 1, 4], [2, 3, 3]])
    scores = Consensus(CORPUS).scores(candidates, rows)

    plain = np.zeros((2, 2))
    for n in range(1, 5):
        counter = CountVectorizer(ngram_range=(n, n), token_pattern=r"[\w']+").fit(CORPUS)
        rarity = TfidfTransformer().fit(counter.transform(CORPUS)).idf_
        for i, candidate in enumerate(candidates):
            own = counter.transform([candidate]).toarray()[0] * rarity
            for row in rows[i // 2]:
                other = counter.transform([CORPUS[row]]).toarray()[0] * rarity
                lengths = np.linalg.norm(own) * np.linalg.norm(other)
                plain[i // 2, i % 2] += np.minimum(own, other) @ other / max(lengths, 1e-9) / 3 / 4
    assert scores == pytest.approx(plain, abs=1e-6)
    assert (scores > 0).all()


def test_what_is_said_again_does_not_count_again():
    """A cat once and a sofa are nearer to what is said of cats on sofas than a cat twice."""
    once, twice = Consensus(CORPUS).scores(["a cat sits on a sofa", "a cat sits on a cat"], np.array([[2]]))[0]
    assert once == pytest.approx(1) and twice < 0.8
    longer = Consensus(CORPUS).scores(["dog", "dog dog", "dog dog dog"], np.array([[0]]))[0]
    assert longer[0] > longer[1] > longer[2]


def test_a_candidate_unlike_all_scores_nothing():
    scores = Consensus(CORPUS).scores(["zebra", ""], np.array([[0, 1]]))
    assert scores.tolist() == [[0.0, 0.0]]


def test_a_corpus_of_short_captions_has_no_long_ngrams():
    scores = Consensus(np.array(["a dog", "a cat"], dtype=object)).scores(["a dog", "a cat"], np.array([[0], [0]]))
    assert scores[0, 0] == pytest.approx(1.0)
    scores = Consensus(np.array(["a dog - !", "a , cat !"], dtype=object)).scores(["a dog"], np.array([[0]]))
    assert scores.shape == (1, 1)  # of four words, as spaces part them, two are none
