from clipknight.embedding.embeddings import UNRECOGNISED, unit
from clipknight.embedding.recognition import Recogniser
from clipknight.ensemble.concepts import Concepts

import numpy as np
import pytest


@pytest.fixture
def concepts():
    """Three concepts, read off the features themselves, whose targets are the axes."""
    known = Recogniser(["dog", "boat", "sky"], np.eye(3, dtype=np.float32), np.zeros(3, np.float32), of_unit=False)
    return Concepts(known, np.eye(3, dtype=np.float32), top=2)


def test_a_row_is_the_mean_of_the_most_probable_concepts(concepts):
    rows = concepts.predict(np.log([[0.6, 0.3, 0.1]]))
    np.testing.assert_allclose(unit(rows), unit(np.array([[2 / 3, 1 / 3, 0]])), atol=1e-6)


def test_a_row_is_as_long_as_the_first_concept_is_probable(concepts):
    lengths = np.linalg.norm(concepts.predict(np.log([[0.98, 0.01, 0.01], [0.4, 0.35, 0.25]])), axis=1)
    np.testing.assert_allclose(lengths, [0.98, 0.4], atol=1e-6)


def test_nothing_is_recognised_where_all_logits_are_low(concepts):
    """A picture's look is as familiar as log Σ exp of its logits is high, however sure the first concept is."""
    logits = np.array([[9.0, 2.0, 1.0], [3.0, 2.0, 1.0], [3.0, -9.0, -9.0]])
    np.testing.assert_allclose(concepts.recogniser.recognised(logits)[1], np.log(np.exp(logits).sum(axis=1)), rtol=1e-6)
    alone = Concepts(concepts.recogniser, concepts.vectors, top=2, familiar=3.2)
    rows, before = alone.predict(logits), concepts.predict(logits)
    np.testing.assert_array_equal(rows[:2], before[:2])
    assert np.linalg.norm(rows[2]) == pytest.approx(UNRECOGNISED) and np.linalg.norm(before[2]) > 0.99
    np.testing.assert_allclose(unit(rows[2]), unit(before[2]), atol=1e-6)


def test_the_most_probable_are_named_first(concepts):
    (named,) = concepts.named(np.log([[0.1, 0.3, 0.6]]), count=2)
    assert [name for name, _ in named] == ["sky", "boat"]
    assert [p for _, p in named] == pytest.approx([0.6, 0.3])


def test_features_of_any_length_stay_as_they_are_or_are_compared_at_length_1():
    features = np.array([[3.0, 4.0]], np.float32)
    weight = np.eye(2, dtype=np.float32)
    for of_unit, logits in ((False, features), (True, unit(features))):
        found = Recogniser(["a", "b"], weight, np.zeros(2, np.float32), of_unit).probabilities(features)
        np.testing.assert_allclose(found, np.exp(logits) / np.exp(logits).sum(), rtol=1e-6)


@pytest.mark.parametrize("familiar", [None, 1.1])
def test_saved_and_read_again(concepts, tmp_path, familiar):
    concepts.familiar = familiar
    concepts.to_folder(tmp_path / "best")
    again = Concepts.from_folder(tmp_path / "best")
    assert again.familiar == familiar
    features = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    np.testing.assert_array_equal(again.predict(features), concepts.predict(features))
    assert again.named(features) == concepts.named(features)


def test_a_threshold_that_is_no_number_is_refused(concepts, tmp_path):
    concepts.familiar = "high"
    concepts.to_folder(tmp_path / "best")
    with pytest.raises(ValueError, match="concepts.json: familiar is high, not a number: make the run again"):
        Concepts.from_folder(tmp_path / "best")


def test_files_that_do_not_fit_each_other_are_refused(concepts, tmp_path):
    concepts.to_folder(tmp_path / "best")
    description = tmp_path / "best" / "concepts.json"
    description.write_text(description.read_text(encoding="utf-8").replace('"dog", ', ""), encoding="utf-8")
    with pytest.raises(ValueError, match="does not hold 2 concepts: make the run again by src/recognise.py"):
        Concepts.from_folder(tmp_path / "best")
