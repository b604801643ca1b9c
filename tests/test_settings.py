import sys
from dataclasses import FrozenInstanceError, dataclass, field, fields
from typing import Literal

from clipknight.ranges import Few, Positive, PositiveFew, Processes, Share
from clipknight.settings import changes_result, fill, load_settings, parse, save_settings, without_effect

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


def refusal(argv, settings=None, **options):
    """The one short line that refuses the words."""
    with pytest.raises((ValueError, FileNotFoundError)) as refused:
        parse(settings or Settings, argv, **options)
    message = str(refused.value)
    assert "\n" not in message and len(message) <= 500
    return message


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


def test_an_unknown_key_of_the_file_is_refused_by_name(tmp_path):
    file = write(tmp_path / "s.yaml", "data: d\nlearning_rate: 0.5\n")
    assert "learning_rate" in refusal(["--config", file])


@pytest.mark.parametrize(
    "words", [["--learning_rate", "1"], ["--learning_rate=1"], ["--no_epochs"], ["--learning-rate"]]
)
def test_an_unknown_flag_is_refused_by_name(words):
    assert words[0].partition("=")[0][2:].replace("-", "_") in refusal(["--data", "d", *words])


def test_a_free_word_is_refused():
    assert "stray" in refusal(["--data", "d", "stray"])


def test_a_shortened_flag_is_refused():
    assert "epoch" in refusal(["--data", "d", "--epoch", "1"])


def test_what_has_no_default_is_asked_for():
    assert "data" in refusal([])


@pytest.mark.parametrize("words", [["--epochs", "many"], ["--epochs", "1.5"], ["--lr", "fast"]])
def test_a_value_of_another_type_is_refused(words):
    said = refusal(["--data", "d", *words])
    assert words[0][2:] in said and words[1] in said


def test_a_missing_file_is_refused(tmp_path):
    assert "absent.yaml" in refusal(["--config", str(tmp_path / "absent.yaml")])


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
    assert "  --from FROM\n        where it comes from" in said
    assert refusal(["--form=x"], Sourced) == "unknown flag --form; do you mean --from?"


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """Settings of the machine"""

    workers: Processes = without_effect(2)
    """processes that read"""
    resume: bool = without_effect(False, saved=False)
    """go on"""


@dataclass(frozen=True, kw_only=True)
class Ranged(Hardware):
    """Settings of a test with ranges"""

    data: str
    """the folder"""
    paths: list[str] = field(default_factory=list)
    """what is read"""
    epochs: Few = 3
    """times"""
    share: Share = 0.5
    """of the rows"""
    rate: Positive = 1e-3
    """of learning"""
    neighbours: PositiveFew | None = None
    """how many"""
    sizes: list[PositiveFew] = field(default_factory=list)
    """in pixels"""
    head: Literal["che", "linear"] = "che"
    """which"""


EPOCHS = "a whole number from 0 to 100,000"


@pytest.mark.parametrize(
    "words, message",
    [
        (["--epochs", "-1"], f"--epochs -1 is not allowed: give {EPOCHS}"),
        (["--epochs=nan"], f"--epochs nan is not allowed: give {EPOCHS}"),
        (["--epochs", "1000000000000"], f"--epochs 1000000000000 is not allowed: give {EPOCHS}"),
        (["--share", "nan"], "--share nan is not allowed: give a number from 0 to 1"),
        (["--rate", "inf"], "--rate inf is not allowed: give a number above 0 to 1,000,000,000"),
        (["--rate", "0"], "--rate 0 is not allowed: give a number above 0 to 1,000,000,000"),
        (["--neighbours", "0"], "--neighbours 0 is not allowed: give a whole number from 1 to 100,000 or null"),
        (["--sizes", "224", "0"], "--sizes 224 0 is not allowed: give words, each a whole number from 1 to 100,000"),
        (["--head", "foo"], "--head foo is not allowed: give one of che, linear"),
        (["--epochs"], "--epochs needs a value"),
        (["--epcohs", "1"], "unknown flag --epcohs; do you mean --epochs?"),
    ],
)
def test_what_is_out_of_range_is_refused_with_what_is_allowed(words, message):
    assert refusal(["--data", "d", *words], Ranged) == message


def test_a_long_value_is_shortened():
    message = refusal(["--data", "d", "--epochs", "9" * 5000], Ranged)
    assert message.startswith("--epochs 999") and message.endswith(EPOCHS) and len(message) < 300
    assert len(refusal(["--data", "d", f"--{'x' * 5000}"], Ranged)) < 300


def test_a_value_of_the_file_is_refused_with_its_file(tmp_path):
    file = write(tmp_path / "s.yaml", "data: d\nepochs: -2\n")
    assert refusal(["--config", file], Ranged) == f"{file}: epochs: -2 is not allowed: give {EPOCHS}"
    assert parse(Ranged, ["--config", file, "--epochs", "2"]).epochs == 2
    file = write(tmp_path / "t.yaml", "data: 5\n")
    assert refusal(["--config", file], Ranged).endswith("(a number or true needs quotes to be text)")


def test_ranged_settings_are_saved_as_plain_numbers(tmp_path):
    s = parse(Ranged, ["--data", "d", "--epochs", "7", "--share", "1", "--sizes", "3", "--neighbours", "4", "--resume"])
    assert (type(s.epochs), type(s.share), type(s.sizes[0])) == (int, float, int)
    save_settings(s, tmp_path / "s.yaml")
    assert load_settings(tmp_path / "s.yaml") == {
        **{"data": "d", "workers": 2, "paths": [], "epochs": 7, "share": 1.0, "rate": 1e-3, "neighbours": 4},
        **{"sizes": [3], "head": "che"},
    }


def test_a_field_says_whether_it_changes_a_result():
    assert {f.name for f in fields(Ranged) if not changes_result(f)} == {"workers", "resume"}


def test_files_of_old_runs_may_name_what_a_script_never_read(tmp_path):
    file = write(tmp_path / "s.yaml", "data: d\nskip_unreadable: false\n")
    assert parse(Ranged, ["--config", file]).data == "d"
    file = write(tmp_path / "s.yaml", "data: d\nskip_unreadable: true\n")
    assert "skip_unreadable" in refusal(["--config", file], Ranged)


def test_values_of_a_file_are_checked_under_its_name(tmp_path):
    file = tmp_path / "settings.yaml"
    assert fill(Hardware, {"workers": 3}, str(file)) == Hardware(workers=3)
    with pytest.raises(ValueError, match=r"settings.yaml: workers: 1 is not allowed"):
        fill(Hardware, {"workers": [1]}, str(file))


HELP = """
What it does.

    python src/script.py --data input/flickr8k --run a        # with a remark
    python src/script.py --data input/flickr8k --run another --epochs 12 --head linear --workers 0 --sizes 1 2
"""


def test_help_shows_examples_as_typed_switches_choices_and_words(capsys):
    with pytest.raises(SystemExit):
        parse(Ranged, ["--help"], HELP, positional="paths")
    page = capsys.readouterr().out
    assert HELP in page
    assert "[PATH...] --data DATA" in page and "\n  PATH...\n" in page
    assert "  --resume/--no_resume\n" in page
    assert "(one of che, linear; default che)" in page and "(a number from 0 to 1; default 0.5)" in page
