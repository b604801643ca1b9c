"""Choice among captions by what is said of similar images."""

from clipknight.captioning.consensus import Consensus

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

CORPUS = np.array(
    ["a dog runs on grass", "a brown dog runs", "a cat sits on a sofa", "two men play chess", "a dog on the grass"],
    dtype=object,
)


def test_scores_are_the_mean_of_the_cosines_with_each_neighbour():
    candidates = ["a dog runs", "a cat sleeps", "two men", "a dog on grass"]
    rows = np.array([[0, 1, 4], [2, 3, 3]])
    scores = Consensus(CORPUS).scores(candidates, rows)

    plain = np.zeros((2, 2))
    for n in range(1, 5):
        vectorizer = TfidfVectorizer(ngram_range=(n, n), token_pattern=r"[\w']+").fit(CORPUS)
        for i, candidate in enumerate(candidates):
            for row in rows[i // 2]:
                pair = vectorizer.transform([candidate, CORPUS[row]]).toarray()
                plain[i // 2, i % 2] += pair[0] @ pair[1] / 3 / 4
    assert scores == pytest.approx(plain, abs=1e-6)
    assert scores[0, 0] > scores[0, 1] and scores[1, 0] > 0


def test_a_candidate_unlike_all_scores_nothing():
    scores = Consensus(CORPUS).scores(["zebra", ""], np.array([[0, 1]]))
    assert scores.tolist() == [[0.0, 0.0]]


def test_a_corpus_of_short_captions_has_no_long_ngrams():
    scores = Consensus(np.array(["a dog", "a cat"], dtype=object)).scores(["a dog", "a cat"], np.array([[0], [0]]))
    assert scores[0, 0] == pytest.approx(1.0)
    scores = Consensus(np.array(["a dog - !", "a , cat !"], dtype=object)).scores(["a dog"], np.array([[0]]))
    assert scores.shape == (1, 1)  # of four words, as spaces part them, two are none
