from clipknight.data.questions import (
    accuracy_table,
    answers_by_kind,
    commonest_answers,
    image_files,
    is_right,
    plain,
    read_questions,
)

import pandas as pd
import pytest

TRAIN = pd.DataFrame(
    [
        ("colour", "red|scarlet"),
        ("colour", "blue"),
        ("colour", "blue"),
        ("count", "1"),
        ("count", "2"),
        ("count", "2"),
        ("count", "1"),
        ("yes/no", "no"),
    ],
    columns=["kind", "answer"],
)


@pytest.fixture
def table(tmp_path):
    def write(text, name="questions.csv"):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    return write


# Right answers


@pytest.mark.parametrize(
    "said, answer, right",
    [
        ("red", "red", True),
        ("It is RED.", "red", True),
        ("The red one", "blue", False),
        ("scarlet", "red|scarlet", True),
        ("hundred", "red", False),
        ("Two dogs", "2", True),
        ("2", "two", True),
        ("12", "2", False),
        ("a slice of watermelon", "slice of watermelon", True),
        ("a slice of the watermelon", "slice of watermelon", True),
        ("watermelon", "slice of watermelon", False),
        ("", "red", False),
        ("", "", False),
        ("Yes, there is no dog", "yes", True),
        ("Yes, there is no dog", "no", False),
        ("There is none", "no", False),
        ("No", "no", True),
    ],
)
def test_a_right_answer(said, answer, right):
    assert is_right(said, answer) == right


def test_plain_words():
    assert plain("An Apple, the THREE pears!") == ["apple", "3", "pears"]


# Accuracy


def test_accuracy_by_kind_against_a_count():
    rows = pd.DataFrame(
        {"kind": ["colour", "count", "colour", "colour"], "answer": ["red|scarlet", "2", "blue", "green"]}
    )
    said = {"model": ["Scarlet.", "three", "a blue one", "red"], "commonest": ["blue", "two", "blue", "blue"]}
    table = accuracy_table(rows, said)
    assert table.index.tolist() == ["colour", "count", "all"]
    assert table["questions"].tolist() == [3, 1, 4]
    assert table["model"].tolist() == pytest.approx([2 / 3, 0, 2 / 4])
    assert table["commonest"].tolist() == pytest.approx([1 / 3, 1, 2 / 4])


def test_one_kind_has_one_row():
    table = accuracy_table(pd.DataFrame({"kind": ["all"] * 2, "answer": ["a dog", "cat"]}), {"model": ["dog", "dog"]})
    assert table.to_dict("index") == {"all": {"questions": 2, "model": 0.5}}


def test_the_commonest_answer_of_each_kind():
    assert commonest_answers(TRAIN) == {"colour": "blue", "count": "1", "yes/no": "no"}  # the first of equals
    assert answers_by_kind(TRAIN) == {"colour": ["blue", "red"], "count": ["1", "2"], "yes/no": ["no"]}


# Files


def test_a_file_of_questions(table):
    rows = read_questions(
        table('\ufeffimage,question,answer,split\na.png,What?,dog,train\nb.png,"Who, and why?",1,valid\n')
    )
    assert rows.to_dict("list") == {
        "image": ["a.png", "b.png"],
        "question": ["What?", "Who, and why?"],
        "answer": ["dog", "1"],
        "kind": ["all", "all"],
    }
    assert read_questions(table("kind,question,image\nx,What?,a.png\n"))["kind"].tolist() == ["x"]


@pytest.mark.parametrize(
    "text, message",
    [
        ("image,text\na.png,What?\n", "has no column question: its columns are image, text"),
        ("a,b\n1,2\n", "no column image and no question"),
        ("image,question\n", "a header and no question"),
        ("image,question\na.png,What?\nb.png, \n", "no question on line 3"),
        ("image,question,answer\na.png,What?,\n", "no answer on line 2"),
        ("image,question\na.png,Is it red, or blue?\n", "line 2: 3 fields"),
    ],
)
def test_a_file_that_is_wrong(table, text, message):
    with pytest.raises(ValueError, match=message):
        read_questions(table(text))


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_questions_as_spreadsheets_save_them(tmp_path, delimiter):
    lines = ["image,question", "a.png,What is it?", 'b.png,"Is it red\ror blue?"']
    text = "\r\n".join(line.replace(",", delimiter) for line in lines)
    (tmp_path / "q.csv").write_text(text, encoding="utf-8-sig", newline="")
    assert read_questions(tmp_path / "q.csv")["question"].tolist() == ["What is it?", "Is it red\ror blue?"]


def test_questions_that_are_not_utf8_say_where(tmp_path):
    (tmp_path / "q.csv").write_bytes("image,question\na.png,What’s it?\n".encode("cp1252"))
    with pytest.raises(ValueError, match="q.csv, line 2: byte 0x92 is not UTF-8; save the file as UTF-8"):
        read_questions(tmp_path / "q.csv")


def test_a_file_that_is_not_there():
    with pytest.raises(FileNotFoundError, match="no file of questions absent.csv"):
        read_questions("absent.csv")


def test_where_images_are(tmp_path, monkeypatch):
    for folder in ("beside", "here", "named"):
        (tmp_path / folder).mkdir()
    (tmp_path / "beside" / "a.png").touch()
    (tmp_path / "here" / "b.png").touch()
    (tmp_path / "named" / "a.png").touch()
    monkeypatch.chdir(tmp_path / "here")
    names, csv = pd.Series(["a.png", "b.png", "a.png"]), tmp_path / "beside" / "questions.csv"
    csv.touch()
    beside = str(tmp_path / "beside" / "a.png")
    assert image_files(names, "", csv).tolist() == [beside, "b.png", beside]
    assert image_files(names[:1], tmp_path / "named", csv).tolist() == [str(tmp_path / "named" / "a.png")]
    with pytest.raises(FileNotFoundError, match="1 images are not there: b.png; say their folder, --images FOLDER"):
        image_files(names, tmp_path / "named", csv)
