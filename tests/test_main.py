"""The command `clipknight`: each recipe is one of its commands, and messages name them as they are typed."""

import sys

from clipknight import __main__, messages
from clipknight.messages import as_typed, commands_are
from clipknight.paths import ROOT

import pytest


@pytest.fixture
def clipknight(monkeypatch):
    """Run the command with these words, in this process."""
    monkeypatch.setattr(messages, "_recipe", None)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def call(*words: str) -> None:
        monkeypatch.setattr(sys, "argv", ["clipknight", *words])
        __main__.main()

    return call


def test_without_a_command_it_lists_them(clipknight, capsys):
    clipknight()
    page = capsys.readouterr().out
    assert (
        page.startswith("usage: clipknight COMMAND") and "\n  caption          Say what images and videos show" in page
    )
    assert page.count("\n  ") == len(list(ROOT.glob("src/*.py")))


@pytest.mark.parametrize(
    "word, remedy", [("captoin", "do you mean caption?"), ("x" * 999, "clipknight --help lists them")]
)
def test_a_typo_is_one_line(clipknight, word, remedy):
    with pytest.raises(SystemExit) as end:
        clipknight(word, "photo.jpg")
    assert str(end.value).startswith("error: no command is called ") and str(end.value).endswith(remedy)
    assert len(str(end.value)) < 200


def test_help_and_errors_name_commands_as_they_are_typed(clipknight, capsys):
    with pytest.raises(SystemExit):
        clipknight("caption", "--help")
    page = capsys.readouterr().out
    assert page.startswith("usage: clipknight caption [PATH...]") and "\nclipknight caption photo.jpg  " in page
    assert "run of clipknight train_knight or clipknight train_maccap" in page and ".py" not in page
    assert max(map(len, page.splitlines())) <= 120
    with pytest.raises(SystemExit, match="clipknight score submission") as end:
        clipknight("score")
    assert ".py" not in str(end.value)


def test_what_is_typed():
    text = "python src/predict.py --run a; src/pack.py, train_a.py; src/studies/fold_study.py, my/predict.py, unpack.py"
    assert as_typed(text) == text
    commands_are(["pack", "predict", "train_a"])
    try:
        shown = as_typed(text)
    finally:
        messages._recipe = None
    kept = "src/studies/fold_study.py, my/predict.py, unpack.py"
    assert shown == f"clipknight predict --run a; clipknight pack, clipknight train_a; {kept}"
