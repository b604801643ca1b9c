import dataclasses
import os

from clipknight.errors import LONGEST, user_errors
from clipknight.messages import cut

import pytest


@dataclasses.dataclass
class Settings:
    resume: bool = False


def ending(error) -> SystemExit:
    @user_errors
    def main(argv=None):
        raise error

    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value


@pytest.mark.parametrize(
    "error, message",
    [
        (ValueError("no: try yes"), "error: no: try yes"),
        (KeyError("no vector for 'a'"), "error: no vector for 'a'"),
        (PermissionError(13, "Permission denied", "out/a"), "error: out/a: Permission denied"),
        (OSError(28, os.strerror(28), "out/a"), f"error: out/a: {os.strerror(28)}: make room, and run it again"),
        (OSError("12 requested and 0 written"), "error: 12 requested and 0 written"),
        (ConnectionRefusedError(), "error: ConnectionRefusedError"),
    ],
)
def test_a_users_mistake_is_one_line(error, message):
    assert ending(error).code == message


def test_a_fault_of_the_program_keeps_its_traceback():
    with pytest.raises(AttributeError):
        user_errors(lambda argv: [].absent)()


def test_a_long_message_keeps_its_beginning_and_its_remedy():
    message = "error at the start" + "x" * 9000 + "the remedy: --overwrite"
    short = cut(message, LONGEST)
    assert (
        len(short) == LONGEST and short.startswith("error at the start") and short.endswith("the remedy: --overwrite")
    )
    assert cut("short", LONGEST) == "short"


def test_ctrl_c_is_one_line_that_says_how_to_go_on(capsys):
    assert ending(KeyboardInterrupt()).code == 130
    assert capsys.readouterr().err.splitlines() == [
        "",
        "stopped: the same command with --resume goes on from the last saved step",
    ]


def test_ctrl_c_does_not_name_a_flag_that_the_script_lacks(capsys, monkeypatch):
    monkeypatch.delitem(globals(), "Settings")
    assert ending(KeyboardInterrupt()).code == 130
    assert "--resume" not in capsys.readouterr().err
