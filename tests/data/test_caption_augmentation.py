import re
from collections import Counter

import train_a
from clipknight.data.caption_augmentation import (
    WORD,
    augmented_caption,
    inflected_synonyms,
    with_shuffled_words,
    with_synonyms,
    with_variants,
)
from clipknight.embedding.captioned_dataset import CaptionedDataset
from clipknight.embedding.target_encoder import load_target_encoder
from clipknight.training.runs import Run

import numpy as np
import pandas as pd
import pytest

LARGE = "A large child is jumping over the rocks ."


def draws(count=200):
    return (np.random.default_rng(seed) for seed in range(count))


@pytest.mark.parametrize(
    "word, tag, expected",
    [
        ("children", "NNS", {"kids", "youngsters", "minors"}),
        ("jumped", "VBD", {"leapt", "bounded", "sprang"}),
        ("Jumping", "VBG", {"leaping", "bounding", "springing"}),
        ("jumps", "VBZ", {"leaps", "bounds", "springs"}),
        ("jump", "VBP", {"leap", "bound", "spring"}),
        ("boys", "NNS", {"male children"}),
        ("sat", "VBD", {"sat down"}),
        ("large", "JJ", {"big"}),
        ("larger", "JJR", set()),
        ("not", "RB", set()),
        ("in", "IN", set()),
        ("Paris", "NNP", set()),
        ("xyzzy", "NN", set()),
    ],
)
def test_synonyms_keep_the_form(word, tag, expected):
    assert set(inflected_synonyms(word, tag)) == expected


def test_only_content_words_are_replaced_and_as_many_as_asked():
    before = LARGE.split()
    for count, changed in ((0, 0), (1, 1), (2, 2), (3, 3), (4, 4), (9, 4)):
        for draw in draws(20):
            after = with_synonyms(LARGE, count, draw).split()
            assert len(after) == len(before)
            assert sum(a != b for a, b in zip(after, before, strict=True)) == changed
            assert [after[i] for i in (0, 3, 5, 6, 8)] == ["A", "is", "over", "the", "."]


def test_every_word_and_every_synonym_gets_its_turn():
    seen = Counter(word for draw in draws() for word in with_synonyms(LARGE, 1, draw).split())
    new = {"big", "kid", "youngster", "minor", "leaping", "bounding", "springing", "stones"}
    assert new == seen.keys() - set(LARGE.split())
    assert all(30 < sum(seen[word] for word in words) < 70 for words in ({"big"}, {"stones"}))


def test_rarer_senses_when_asked():
    words = {augmented_caption("small dog", variant, 0, shuffle=0, senses=4) for variant in range(40)}
    assert any("hound" in text for text in words) and any("modest" in text for text in words)
    assert {augmented_caption("small dog", variant, 0, shuffle=0) for variant in range(40)} == {"little domestic dog"}


def test_a_capital_stays_and_the_rest_of_the_text_too():
    possible = {f"{child},  (big)\tand!" for child in ("Kids", "Youngsters", "Minors")}
    assert {with_synonyms("Children,  (large)\tand!", 2, draw) for draw in draws(30)} == possible


@pytest.mark.parametrize("places", [0, 1, 2, 5])
def test_words_move_no_further_than_asked(places):
    text = " ".join(f"{'abcdefghijkl'[i]}x" for i in range(12))
    moved = set()
    for draw in draws():
        after = with_shuffled_words(text, places, draw).split()
        assert sorted(after) == text.split()
        moved |= {abs(i - text.split().index(word)) for i, word in enumerate(after)}
    assert max(moved) == places


def test_what_is_between_words_stays():
    text = 'Two dogs, a cat: "it\'s 3 well-known" (x) .\n'
    gaps = WORD.sub("_", text)
    shuffled = [with_shuffled_words(text, 3, draw) for draw in draws(30)]
    assert all(WORD.sub("_", after) == gaps for after in shuffled) and len(set(shuffled)) > 5
    assert {"it's", "well-known"} <= set(re.split(r"[^\w'-]+", shuffled[0]))


@pytest.mark.parametrize("text", ["", " ", "...", "3 / 4", "dog", "Ünïcode — “naïve” café", "A\u2028b", "and/or"])
def test_odd_captions_pass(text):
    assert augmented_caption(text, 1, 0).count("/") == text.count("/")
    if not WORD.search(text):
        assert augmented_caption(text, 1, 0) == text


def test_seed_variant_and_caption_decide():
    text = "A young boy in a red shirt jumps over large rocks near the water"
    first = augmented_caption(text, 1, 0)
    assert first == augmented_caption(text, 1, 0) != text
    assert len({first, augmented_caption(text, 2, 0), augmented_caption(text, 1, 1)}) == 3
    assert augmented_caption(text, 1, 0, replaced=0, shuffle=0) == text
    assert sorted(augmented_caption(text, 1, 0, replaced=0).split()) == sorted(text.split())


def test_variants_follow_their_caption():
    captions = pd.DataFrame({"id": ["a", "b"], "caption": [LARGE, "..."], "caption_id": ["a#0", "b#3"]})
    rows = with_variants(captions, 2, seed=5, shuffle=0)
    assert rows["caption_id"].tolist() == ["a#0", "a#0~1", "a#0~2", "b#3", "b#3~1", "b#3~2"]
    assert rows["id"].tolist() == ["a"] * 3 + ["b"] * 3
    expected = [LARGE, *(augmented_caption(LARGE, number, 5, shuffle=0) for number in (1, 2))]
    assert rows["caption"].tolist() == [*expected, "...", "...", "..."]


@pytest.fixture(scope="module")
def train(coloured, tiny_target_encoder):
    return CaptionedDataset.read(coloured, str(tiny_target_encoder), "cpu").split("train")


def test_targets_of_the_variants_join_those_of_the_captions(train, tiny_target_encoder):
    more = train.augmented(2, seed=0, device="cpu", replaced=1)
    captions = more.dataset.captions
    assert len(captions) == len(more.targets) == 3 * len(train.targets)
    own = more.targets.aligned_to(train.targets.ids)
    np.testing.assert_array_equal(own.vectors, train.targets.vectors)
    encoder = load_target_encoder(str(tiny_target_encoder), "cpu")
    expected = encoder.encode(captions["caption"].tolist(), normalize_embeddings=True, show_progress_bar=False)
    np.testing.assert_allclose(more.targets.vectors, expected, atol=1e-5)
    of_image = captions["id"].to_numpy() == more.dataset.ids[3]
    np.testing.assert_allclose(more.mean_targets()[3], expected[of_image].mean(0), atol=1e-5)
    drawn = {caption for seed in range(40) for caption in more.drawn_captions(np.random.default_rng(seed))}
    assert any("~" in captions["caption_id"][row] for row in drawn)
    assert train.augmented(0, seed=0) is train


@pytest.mark.slow
def test_model_a_trains_on_them(coloured, tiny_clip, tiny_target_encoder, outputs):
    shared = [f"--data={coloured}", f"--encoder={tiny_clip}", f"--target_encoder={tiny_target_encoder}", "--device=cpu"]
    shared += ["--workers=0", "--precision=fp32", "--epochs=1", "--batch_size=8", "--captions=one"]
    for run, *more in (["plain"], ["none", "--augment_captions=0"], ["two", "--augment_captions=2"]):
        train_a.main([*shared, f"--run=augmented/{run}", *more])
    rows = {name: Run.open(f"augmented/{name}").predictions("valid").vectors for name in ("plain", "none", "two")}
    np.testing.assert_array_equal(rows["plain"], rows["none"])
    assert np.abs(rows["plain"] - rows["two"]).max() > 1e-4
    before = sorted((outputs / "embeddings" / "coloured").glob("targets-*"))
    train_a.main([*shared, "--run=augmented/again", "--augment_captions=2"])
    assert sorted((outputs / "embeddings" / "coloured").glob("targets-*")) == before  # encoded once
    np.testing.assert_array_equal(Run.open("augmented/again").predictions("valid").vectors, rows["two"])
