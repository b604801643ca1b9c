"""What is shown while a user waits, and where it is not."""

import io
from contextlib import redirect_stderr

from clipknight.waiting import CLEARED, show_wait, waiting

import pytest


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_line_that_goes_when_the_wait_is_over():
    with redirect_stderr(Terminal()) as terminal:
        with waiting("loading the encoder tiny"):
            assert terminal.getvalue() == "loading the encoder tiny …"
        assert terminal.getvalue() == f"loading the encoder tiny …{CLEARED}"


def test_it_goes_before_an_error_is_told_and_before_another_is_shown():
    with redirect_stderr(Terminal()) as terminal, pytest.raises(ValueError), waiting("one"), waiting("another"):
        raise ValueError
    assert terminal.getvalue() == f"one …{CLEARED}another …{CLEARED}"


def test_no_line_goes_into_a_file(capsys):
    with waiting("loading"):
        show_wait("loading more")
    assert capsys.readouterr() == ("", "")
