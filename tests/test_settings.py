import sys
from dataclasses import FrozenInstanceError, dataclass, field

from clipknight.settings import load_settings, parse, save_settings

import pytest


@dataclass(frozen=True)
class Settings:
    """Settings of a test"""

    data: str
    """the folder"""
    lr: float = 1e-3
    epochs: int = 3
    flip: bool = True
    resume: bool = False
    members: list[str] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    freeze_below: float = 0.15


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return str(path)


def refusal(capsys, argv, **options):
    with pytest.raises(SystemExit) as exit:
        parse(Settings, argv, **options)
    return f"{exit.value} {capsys.readouterr().err}"


def test_defaults_then_file_then_flags(tmp_path):
    file = write(tmp_path / "s.yaml", "data: from_file\nlr: 0.5\nepochs: 7\n")
    s = parse(Settings, ["--config", file, "--epochs", "9"])
    assert (s.data, s.lr, s.epochs, s.freeze_below) == ("from_file", 0.5, 9, 0.15)


def test_flags_win_wherever_they_stand(tmp_path):
    file = write(tmp_path / "s.yaml", "data: from_file\nepochs: 7\n")
    assert parse(Settings, ["--epochs", "9", "--config", file]).epochs == 9
    assert parse(Settings, ["--epochs=9", f"--config={file}"]).epochs == 9


def test_the_result_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        parse(Settings, ["--data", "d"]).lr = 1


def test_an_unknown_key_of_the_file_is_refused_by_name(tmp_path, capsys):
    file = write(tmp_path / "s.yaml", "data: d\nlearning_rate: 0.5\n")
    assert "learning_rate" in refusal(capsys, ["--config", file])


@pytest.mark.parametrize(
    "words", [["--learning_rate", "1"], ["--learning_rate=1"], ["--no_epochs"], ["--learning-rate"]]
)
def test_an_unknown_flag_is_refused_by_name(capsys, words):
    assert words[0].partition("=")[0][2:].replace("-", "_") in refusal(capsys, ["--data", "d", *words])


def test_a_free_word_is_refused(capsys):
    assert "stray" in refusal(capsys, ["--data", "d", "stray"])


def test_a_shortened_flag_is_refused(capsys):
    assert "epoch" in refusal(capsys, ["--data", "d", "--epoch", "1"])


def test_what_has_no_default_is_asked_for(capsys):
    assert "data" in refusal(capsys, [])


@pytest.mark.parametrize("words", [["--epochs", "many"], ["--epochs", "1.5"], ["--lr", "fast"]])
def test_a_value_of_another_type_is_refused(capsys, words):
    said = refusal(capsys, ["--data", "d", *words])
    assert words[0][2:] in said and words[1] in said


def test_a_missing_file_is_refused(capsys, tmp_path):
    assert "absent.yaml" in refusal(capsys, ["--config", str(tmp_path / "absent.yaml")])


@pytest.mark.parametrize("written", ["1e-4", "1.0e-4", "0.0001"])
def test_exponents_are_numbers_in_file_and_flags(tmp_path, written):
    file = write(tmp_path / "s.yaml", f"data: d\nlr: {written}\nweights: [{written}, 1]\n")
    s = parse(Settings, ["--config", file])
    assert s.lr == 1e-4 and s.weights == [1e-4, 1.0]
    assert parse(Settings, ["--data", "d", "--lr", written]).lr == 1e-4


def test_switches():
    s = parse(Settings, ["--resume", "--no_flip", "--data", "d"])
    assert (s.resume, s.flip) == (True, False)
    assert parse(Settings, ["--data", "d", "--no-flip"]).flip is False
    assert parse(Settings, ["--data", "d", "--flip=false"]).flip is False


def test_dashes_for_underscores():
    assert parse(Settings, ["--data", "d", "--freeze-below", "0.5"]).freeze_below == 0.5


def test_lists_take_words():
    s = parse(Settings, ["--members", "a", "b: c", "7", "--data", "d", "--weights", ".5", "1e-3"])
    assert s.members == ["a", "b: c", "7"] and s.weights == [0.5, 1e-3]
    assert parse(Settings, ["--data", "d", "--members", "one"]).members == ["one"]
    assert parse(Settings, ["--data", "d", "--members=a: b", "--weights=1e-3"]).members == ["a: b"]
    assert parse(Settings, ["--data", "d", "--weights=[.5, 1e-3]"]).weights == [0.5, 1e-3]


def test_free_words_go_to_the_positional_list():
    s = parse(Settings, ["x.jpg", "--data", "d", "--resume", "y, z.jpg"], positional="members")
    assert s.members == ["x.jpg", "y, z.jpg"] and s.resume


def test_words_keep_their_form():
    s = parse(Settings, ["--data", "007", "--members", "1e3", "null", "-1", "nan"])
    assert s.data == "007" and s.members == ["1e3", "null", "-1", "nan"]


def test_saved_settings_are_read_back(tmp_path):
    s = parse(
        Settings, ["--data", "wörter: 1", "--lr", "1e-5", "--no_flip", "--members", "a", "01", "--weights", "1e-7"]
    )
    save_settings(s, tmp_path / "s.yaml")
    assert parse(Settings, ["--config", str(tmp_path / "s.yaml")]) == s
    assert load_settings(tmp_path / "s.yaml")["lr"] == 1e-5


def test_the_command_line_of_the_process(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["script.py", "--data", "d"])
    assert parse(Settings).data == "d"


def test_help_shows_the_documentation(capsys):
    with pytest.raises(SystemExit) as exit:
        parse(Settings, ["--help"], "What it does.")
    said = capsys.readouterr().out
    assert exit.value.code == 0 and "What it does." in said and "the folder" in said


@dataclass(frozen=True)
class Sourced:
    """Settings of a test with a name that Python keeps for itself"""

    from_: str = ""
    """where it comes from"""
    run: str = "r"


@pytest.mark.parametrize("words", [["--from", "ensemble"], ["--from=ensemble"], ["--from_", "ensemble"]])
def test_a_setting_that_is_called_like_a_keyword(words):
    assert parse(Sourced, [*words, "--run", "x"]) == Sourced("ensemble", "x")


def test_the_keyword_in_files_and_help(tmp_path, capsys):
    save_settings(Sourced("a: b"), tmp_path / "s.yaml")
    assert load_settings(tmp_path / "s.yaml") == {"from_": "a: b", "run": "r"}
    assert parse(Sourced, ["--config", str(tmp_path / "s.yaml")]) == Sourced("a: b")
    assert parse(Sourced, ["--from=flag", "--config", str(tmp_path / "s.yaml")]).from_ == "flag"
    with pytest.raises(SystemExit):
        parse(Sourced, ["--help"])
    said = capsys.readouterr().out
    assert "--from FROM " in said and "[--from FROM]" in said and "where it comes from" in said
    with pytest.raises(SystemExit):
        parse(Sourced, ["--form=x"])
    assert "[--from FROM]" in capsys.readouterr().err
