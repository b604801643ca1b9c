"""What a prediction came from is found through members, and through what a run refines."""

from types import SimpleNamespace

from clipknight.api.explanation import members_of, recognised_concepts

import pytest


class Recognising(SimpleNamespace):
    def recognised(self, dataset, count):
        return [[("dog", 0.2), ("cat", 0.7)][:count]]


def of(**parts):
    return SimpleNamespace(**parts)


def test_members_of_an_ensemble_and_of_one_that_is_refined():
    ensemble = of(members={"a": of(), "b": of()})
    assert list(members_of(ensemble)) == list(members_of(of(source=ensemble))) == ["a", "b"]
    assert members_of(of()) == members_of(None) == {}


@pytest.mark.parametrize(
    "predictor",
    [
        Recognising(),
        of(members={"a": of(), "words": Recognising()}),
        of(source=of(members={"more": of(source=Recognising())})),
        of(source=Recognising()),
    ],
)
def test_concepts_are_those_of_whatever_member_recognises_some(predictor):
    found = recognised_concepts(predictor, None, 2)
    assert list(found.itertuples(index=False, name=None)) == [("cat", 0.7), ("dog", 0.2)]


def test_no_member_recognises_anything():
    assert recognised_concepts(of(members={"a": of()}), None, 2).empty
