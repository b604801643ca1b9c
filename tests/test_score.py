import json

import score
from clipknight.embeddings import Embeddings, unit
from clipknight.submission import write_submission

import numpy as np
import pytest

MEANINGS = {"one": [1, 0, 0], "two": [0, 1, 0], "three, here": [1, 1, 1]}


class Encoder:
    def encode(self, captions, batch_size, normalize_embeddings, show_progress_bar):
        assert normalize_embeddings
        return unit(np.array([MEANINGS[caption] for caption in captions], dtype=np.float32))


@pytest.fixture(autouse=True)
def encoder(monkeypatch):
    monkeypatch.setattr(score, "load_target_encoder", lambda name, device: Encoder())


@pytest.fixture
def submission(tmp_path):
    vectors = np.array([[2, 0, 0], [0, 1, 1]], dtype=np.float32)
    write_submission(Embeddings(np.array(["a_1", "sub/b.c"]), vectors), tmp_path / "s.csv")
    return str(tmp_path / "s.csv")


def captions(tmp_path, *lines):
    path = tmp_path / "captions.txt"
    path.write_text("\n".join(["image,caption", *lines, ""]))
    return str(path)


def run(submission, table, *more):
    return score.main(["submission", "--submission", submission, "--captions", table, *more])


@pytest.mark.parametrize("suffix", ["", ".jpg", ".PNG"])
def test_avg_cos_counts_pairs(tmp_path, submission, suffix, capsys):
    table = captions(tmp_path, f"a_1{suffix},one", f"sub/b.c{suffix},two", f'a_1{suffix},"three, here"')
    found = run(submission, table, "--json", str(tmp_path / "out" / "score.json"))
    expected = (1 + 0.5**0.5 + 1 / 3**0.5) / 3
    assert found == {"avg_cos": pytest.approx(expected), "pairs": 3}
    assert json.loads((tmp_path / "out" / "score.json").read_text()) == found
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
    score.main(["--help"])
    assert "submission" in capsys.readouterr().out
    for argv in ([], ["nothing"]):
        with pytest.raises(SystemExit, match="say what to score\n.*submission"):
            score.main(argv)
    with pytest.raises(SystemExit):
        score.main(["submission", "--help"])
    assert "--allow_partial" in capsys.readouterr().out
