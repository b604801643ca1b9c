from clipknight.data.json_files import ID, TEXT, read_json, records, shown

import pytest


def written(path, text):
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "text, message",
    [
        ("[" * 200_000 + "]" * 200_000, "a.json: lists within lists, too deep"),
        ('{"a":' * 200_000, "a.json: lists within lists, too deep"),
        ("[" + "9" * 100_000 + "]", "a.json: Exceeds the limit"),
        ('{"a": NaN}', "a.json: NaN is no number"),
        ('{"a": ["x"], "a": ["y"]}', "a.json: 'a' stands twice"),
        ('{"a": [{"caption": "half \\ud83d"}]}', r"a.json, a, number 1, caption: .*half a character"),
        ('{"\\ud83d": "x"}', "a.json, a name: .*half a character"),
        ('["x\\u0000y"]', "a.json, number 1: .*NUL"),
        ("[\n1,,\n]", "a.json, line 2: broken JSON"),
        ("", "a.json, line 1: broken JSON"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_place(tmp_path, text, message):
    with pytest.raises(ValueError, match=message) as error:
        read_json(written(tmp_path / "a.json", text))
    assert len(str(error.value)) - len(str(tmp_path)) < 400


def test_whole_characters_are_read(tmp_path):
    assert read_json(written(tmp_path / "a.json", '["\\ud83d\\udc36", "\\\\ud83d"]')) == ["🐶", "\\ud83d"]


FIELDS = {"id": ID, "caption": TEXT}


@pytest.mark.parametrize(
    "data, message",
    [
        ([], "needs 'rows', a list of records that each have id, caption; it is null"),
        ({"rows": {"a": 1}}, "it is a record of a"),
        ({"rows": [1]}, "number 1 is 1"),
        ({"rows": [{"id": 1, "caption": "x"}, {"id": 2}]}, "in number 2 'caption' is missing, not text"),
        ({"rows": [{"id": 1, "caption": {"raw": "x"}}]}, "in number 1 'caption' is a record of raw, not text"),
        ({"rows": [{"id": 1, "caption": ["x"] * 9}]}, "'caption' is a list of 9"),
        ({"rows": [{"id": True, "caption": "x"}]}, "'id' is true, not a whole number or text"),
        ({"rows": [{"id": 1.5, "caption": "x"}]}, "'id' is 1.5"),
    ],
)
def test_a_wrong_type_is_named_with_its_place(data, message):
    with pytest.raises(ValueError, match=message):
        records("a.json", data, "rows", FIELDS)


def test_records():
    rows = [{"id": 1, "caption": "x", "more": None}, {"id": "b", "caption": ""}]
    assert records("a.json", {"rows": rows}, "rows", FIELDS) == rows


def test_a_value_is_shown_short():
    assert len(shown("x" * 10**6)) < 100 and shown("a\nb") == r"'a\\nb'" and shown(10**300).count("0") < 40
