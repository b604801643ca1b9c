from clipknight.captioning import cider_reward
from clipknight.captioning.cider_reward import CiderReward

import numpy as np
import pytest

REFERENCES = {
    "dog": ["A brown dog runs on grass.", "the dog runs", "A dog on the grass"],
    "cat": ["two cats sleep", "Cats on a red sofa sleep", "two sleeping cats on a sofa"],
    "boy": ["a boy rides a bike", "the boy on his bike", "a child rides"],
}


@pytest.fixture(scope="module")
def reward():
    texts = [text for group in REFERENCES.values() for text in group]
    return CiderReward(texts, np.repeat(np.arange(3), 3))


def score(reward, caption, image):
    return reward.score(caption, [reward.weighted(text) for text in REFERENCES[image]])


def test_it_is_pycocoevalcaps_cider(monkeypatch):
    cider = pytest.importorskip("pycocoevalcap.cider.cider")
    monkeypatch.setattr(cider_reward, "END", "zz")  # theirs knows no end: there it is a word
    texts = [text for group in REFERENCES.values() for text in group]
    reward = CiderReward(texts, np.repeat(np.arange(3), 3))
    tested = {"dog": "a dog runs and runs on the red grass", "cat": "two cats", "boy": "a boy on a sofa"}

    def split(text):
        return text.lower().strip(".") + " zz"

    _, theirs = cider.Cider().compute_score(
        {image: list(map(split, group)) for image, group in REFERENCES.items()},
        {image: [split(caption)] for image, caption in tested.items()},
    )
    ours = [score(reward, caption, image) for image, caption in tested.items()]
    assert ours == pytest.approx(list(theirs), abs=1e-9) and min(ours) > 0


def test_breaking_off_is_worth_less(reward):
    assert score(reward, "the dog runs", "dog") > score(reward, "the dog runs on the", "dog") > 0


def test_nothing_in_common(reward):
    assert score(reward, "zebra", "dog") == score(reward, "", "dog") == 0


def test_repeating_a_word_does_not_pay(reward):
    assert score(reward, "sofa sofa sofa sofa", "cat") < score(reward, "sofa", "cat")
