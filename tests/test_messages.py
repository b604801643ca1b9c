from clipknight.messages import a_few, advice, counted, script_has, shortened

import pytest


def test_a_few():
    assert a_few([]) == "" and a_few(["a", 2]) == "a, 2"
    assert a_few("abcdefg") == "a, b, c, d, e and 2 more"


def test_counted():
    assert [counted(n, "image") for n in (0, 1, 2_000)] == ["0 images", "1 image", "2,000 images"]


def test_many_long_values_make_a_short_message():
    listed = a_few(["x" * 20_000] * 9)
    assert len(listed) < 350 and listed.endswith(" and 7 more")


@pytest.mark.parametrize(
    "value, shown",
    [
        ("a\nb\0", r"a\nb\x00"),
        ("half \ud83d", r"half \ud83d"),
        ("né 漢 🐕", "né 漢 🐕"),
        ("a" * 81, "a" * 52 + "…" + "a" * 27),
    ],
)
def test_a_value_is_shown_on_one_line(value, shown):
    assert shortened(value) == shown


def test_a_long_value_is_cut_in_its_middle():
    assert shortened("a" * 81) == "a" * 52 + "…" + "a" * 27


def test_advice_names_flags_that_the_script_has():
    assert advice("; pass --skip_unreadable") == "; pass --skip_unreadable"  # no script runs
    for flags, advised in (({"data"}, ""), ({"data", "skip_unreadable"}, "; pass --skip_unreadable")):
        script_has(flags)
        assert advice("; pass --skip_unreadable") == advised
    script_has(None)
