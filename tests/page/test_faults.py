"""What the page says of an error: the user's in one line, the program's told apart."""

from clipknight.data.images import UnreadableImage
from clipknight.page.faults import BUG, fault_of

import pytest


def test_a_users_mistake_is_one_line_without_the_folders_of_the_server(tmp_path, capsys):
    uploaded = tmp_path / ("0a" * 32) / "photo.jpg"
    fault = fault_of(UnreadableImage(uploaded, "the file is empty"), tmp_path)
    assert fault.text == "photo.jpg: the file is empty" and not fault.is_bug
    assert len(fault_of(ValueError("x" * 9999), tmp_path).text) <= 500
    assert capsys.readouterr().err == ""


def test_a_missing_extra_is_named_with_what_installs_it(tmp_path):
    fault = fault_of(ModuleNotFoundError("No module named 'av'", name="av"), tmp_path)
    assert fault.text == 'This needs av, which is not installed here: pip install "clipknight[video]"'


@pytest.mark.parametrize("error", [ZeroDivisionError("1 / 0 in /home/user/secret"), ModuleNotFoundError("x", name="x")])
def test_a_bug_says_that_it_is_one_and_its_traceback_is_on_the_terminal_alone(tmp_path, capsys, error):
    fault = fault_of(error, tmp_path)
    assert fault.is_bug and fault.text == BUG
    assert str(error) in capsys.readouterr().err
