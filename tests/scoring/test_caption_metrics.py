import json
import math

import clipknight.scoring.java
from clipknight.scoring import java_metrics
from clipknight.scoring.caption_metrics import caption_scores
from clipknight.scoring.settings import METRICS

import coco_captions
import pytest

NO_METEOR = [name for name in METRICS if name != "METEOR"]  # whose tables take seconds to load


@pytest.mark.skipif(not coco_captions.FOLDER.is_dir(), reason="needs shared/data/coco_fakecap")
def test_parity_with_cocos_evaluation(monkeypatch):
    """METEOR's is in test_java_metrics.py, which starts it once for all."""
    given = []
    monkeypatch.setattr(java_metrics, "meteor", lambda *tokenized: given.append(tokenized) or 0.25)
    candidates, references = coco_captions.read()
    scores = caption_scores(candidates, references)
    assert [round(scores[f"Bleu_{n}"], 5) for n in (1, 2, 3, 4)] == [0.57940, 0.40439, 0.27854, 0.19083]
    assert scores["METEOR"] == 0.25
    ((tokens, wanted),) = given
    assert tokens == dict(zip(candidates, java_metrics.ptb_tokens(list(candidates.values())), strict=True))
    assert {image: len(texts) for image, texts in wanted.items()} == {i: len(texts) for i, texts in references.items()}
    assert scores["ROUGE_L"] == pytest.approx(0.396252693575708, abs=1e-12)
    assert scores["CIDEr"] == pytest.approx(0.599790518518420, abs=1e-12)
    assert scores["images"] == 1000
    assert list(scores)[:8] == ["Bleu_1", "Bleu_2", "Bleu_3", "Bleu_4", "METEOR", "ROUGE_L", "CIDEr", "SPICE"]


def test_hand_computed(capfd):
    candidates = {"short": "The cat sat.", "other": "three red buses wait"}
    references = {"short": ["the cat sat down"], "other": ["Three red buses wait!", "cars"]}
    scores = caption_scores(candidates, references, NO_METEOR)
    # 7 of 7 words, 5 of 5 pairs, 3 of 3 triples, 1 of 1 quadruple; 7 words against 8
    for n in (1, 2, 3, 4):
        assert scores[f"Bleu_{n}"] == pytest.approx(math.exp(1 - 8 / 7), abs=1e-6)
    rouge = 2.44 * 0.75 / (0.75 + 1.44)  # precision 1, recall 3/4, beta 1.2
    assert scores["ROUGE_L"] == pytest.approx((rouge + 1) / 2)
    assert scores["SPICE"] is None and "stanford-corenlp-3.6.0.jar" in scores["SPICE_missing"]
    assert scores["images"] == 2
    assert json.loads(json.dumps(scores)) == scores  # plain Python numbers
    assert capfd.readouterr().out == ""


def test_cider_of_one_right_and_one_wrong():
    references = {"a": ["black dog runs fast"], "b": ["three red buses wait"], "c": ["some people eat lunch"]}
    candidates = {"a": "black dog runs fast", "b": "unlike anything here said", "c": "some people eat lunch"}
    assert caption_scores(candidates, references, ["CIDEr"]) == {"CIDEr": pytest.approx(20 / 3), "images": 3}


def test_empty_candidates_score_nothing():
    references = {"a": ["a black dog"], "b": ["three buses", "red buses"]}
    empty = {"a": "", "b": " \u2028\n."}
    scores = caption_scores(empty, references, NO_METEOR)
    assert [scores[name] for name in ("Bleu_1", "Bleu_4", "ROUGE_L", "CIDEr")] == [0, 0, 0, 0]
    half = caption_scores(empty | {"b": "red buses"}, references, ["ROUGE_L"])
    assert half["ROUGE_L"] == 0.5


def test_odd_captions_stay_with_their_images():
    captions = {
        "lines": "a\rblack\ndog\x85runs\u2028fast",
        "bars": "three ||| red ||| buses",
        "emoji": "some people 😀 eat",
        "html": "fish &amp; chips <b>",
        "last": "white horse stands still",
    }
    references = {image: ["nothing like it", caption] for image, caption in captions.items()}
    references["last"] = references["last"][1:]
    scores = caption_scores(captions, references, ["Bleu", "ROUGE_L"])
    assert scores["Bleu_1"] == pytest.approx(1) and scores["ROUGE_L"] == pytest.approx(1)


def test_ids_must_be_the_same():
    references = {"a": ["a dog"], "b": ["a cat"]}
    with pytest.raises(ValueError, match="1 candidates have no references: c"):
        caption_scores({"a": "dog", "b": "cat", "c": "cow"}, references)
    with pytest.raises(ValueError, match="1 images with references have no candidate: b"):
        caption_scores({"a": "dog"}, references)
    with pytest.raises(ValueError, match="no captions to score"):
        caption_scores({}, {})


def test_captions_must_be_captions():
    with pytest.raises(ValueError, match="one or more references is needed for b, c"):
        caption_scores({"a": "dog", "b": "cat", "c": "cow"}, {"a": ["dog"], "b": [], "c": "cow"})
    with pytest.raises(ValueError, match="not text: a"):
        caption_scores({"a": None}, {"a": ["dog"]})
    with pytest.raises(ValueError, match="no reference has a word"):
        caption_scores({"a": "dog"}, {"a": ["...", "!"]})
    with pytest.raises(ValueError, match="no metric SPIDEr; choose from Bleu"):
        caption_scores({"a": "dog"}, {"a": ["dog"]}, ["Bleu", "SPIDEr"])


def test_spice_that_fails_leaves_the_others(tmp_path, monkeypatch):
    java = tmp_path / "java"
    java.write_text(
        '#!/bin/sh\ncase "$*" in *PTBTokenizer*) cat;; *) echo class not found >&2; exit 1;; esac\n', encoding="utf-8"
    )
    java.chmod(0o755)
    monkeypatch.setattr(clipknight.scoring.java, "java_path", lambda: str(java))
    monkeypatch.setattr("clipknight.scoring.java_metrics.spice_missing", lambda: None)
    scores = caption_scores({"a": "dog"}, {"a": ["dog"]}, ["ROUGE_L", "SPICE"])
    assert scores["ROUGE_L"] == 1 and scores["SPICE"] is None
    assert "class not found" in scores["SPICE_missing"]
