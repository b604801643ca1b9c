"""Questions about the sample against the scenes they are about."""

import json

import make_sample
from clipknight.data.questions import OR, read_questions
from clipknight.sample.captions import COLOUR_WORDS, add_s
from clipknight.sample.questions import questions_about
from clipknight.sample.world import THINGS

import pytest


@pytest.fixture(scope="module")
def records(scenes):
    """As scenes.json has them."""
    return [
        {
            "file": f"{scene.id}.jpg",
            "split": "train" if i % 3 else "valid",
            "objects": [{"name": g.name, "colour": g.colour, "count": g.count} for g in scene.groups],
        }
        for i, scene in enumerate(scenes)
    ]


@pytest.fixture(scope="module")
def rows(records):
    return questions_about(records, "pictures", seed=0)


def nouns(thing, many):
    words = THINGS[thing["name"]].nouns
    return {add_s(noun) for noun in words} if many else set(words)


def test_every_answer_is_what_the_scene_holds(records, rows):
    of = {f"pictures/{scene['file']}": scene["objects"] for scene in records}
    for row in rows.itertuples():
        things, answers = of[row.image], set(row.answer.split(OR))
        words = row.question.removesuffix("?").removesuffix(" in the picture")
        if row.kind == "colour":
            (thing,) = [t for t in things if words.partition(" the ")[2] in nouns(t, t["count"] > 1)]
            assert answers == set(COLOUR_WORDS.get(thing["colour"], (thing["colour"],)))
            assert words.startswith("What colour is" if thing["count"] == 1 else "What colour are")
        elif row.kind == "count":
            asked = words.removeprefix("How many ").removesuffix(" are there")
            assert answers == {str(t["count"]) for t in things if asked in nouns(t, True)}
        elif row.kind == "object":
            besides = row.question.removesuffix("?").partition(" besides the ")[2]
            rest = [t for t in things if besides not in nouns(t, t["count"] > 1)]
            assert len(rest) == 1 and answers == nouns(rest[0], True) | nouns(rest[0], False)
        else:
            asked = words.removeprefix("Is there ").partition(" ")[2]
            assert answers == {"yes" if any(asked in nouns(t, False) for t in things) else "no"}
            assert words.startswith("Is there an " if asked[0] in "aeiou" else "Is there a ")


def test_each_scene_has_one_of_each_kind_that_it_allows(records, rows):
    coloured = sum(scene["objects"][0]["colour"] is not None for scene in records)
    assert rows["kind"].value_counts().to_dict() == {"count": 300, "object": 300, "yes/no": 300, "colour": coloured}
    assert 150 < coloured < 300 and not rows.duplicated(["image", "kind"]).any()
    assert 125 < (rows["answer"] == "yes").sum() < 175
    assert rows["split"].value_counts().idxmax() == "train"


def test_what_is_asked_for_tells_nothing(rows):
    asked = rows[rows["kind"] == "yes/no"].assign(noun=lambda r: r["question"].str.split().str[3])
    there, absent = (set(asked["noun"][asked["answer"] == answer]) for answer in ("yes", "no"))
    assert len(there & absent) > 10


def test_drawn_by_seed(records, rows):
    assert questions_about(records, "pictures", seed=0).equals(rows)
    assert not questions_about(records, "pictures", seed=1).equals(rows)


def test_files_of_a_sample(tmp_path, capsys):
    words = ["--out", str(tmp_path / "sample"), "--images", "20", "--clips", "0"]
    make_sample.main(words)
    make_sample.main([*words, f"--questions={tmp_path / 'questions'}"])
    printed = capsys.readouterr().out
    assert "the synthetic sample is there already" in printed and "valid: " in printed
    assert sorted(path.name for path in (tmp_path / "questions").iterdir()) == ["test.csv", "train.csv", "valid.csv"]
    records = json.loads((tmp_path / "sample" / "scenes.json").read_text(encoding="utf-8"))
    for split, images in (("train", 16), ("valid", 2), ("test", 2)):
        rows = read_questions(tmp_path / "questions" / f"{split}.csv")
        files = {str(tmp_path / "sample" / "Images" / r["file"]) for r in records if r["split"] == split}
        assert set(rows["image"]) == files and len(files) == images
        assert list(rows) == ["image", "question", "kind", "answer"]

    own = tmp_path / "questions" / "valid.csv"
    asked, mine = own.read_bytes(), b"image,question\nholiday.jpg,who is this?\n"
    own.write_bytes(mine)
    (tmp_path / "questions" / "train.csv").unlink()
    with pytest.raises(SystemExit, match="valid.csv holds no questions about .*choose another --questions"):
        make_sample.main([*words, f"--questions={tmp_path / 'questions'}"])
    assert own.read_bytes() == mine and not (tmp_path / "questions" / "train.csv").exists()
    (tmp_path / "sample" / "scenes.json").rename(tmp_path / "scenes.json")
    (tmp_path / "sample" / "scenes.json").write_text('[{"file": 1}]', encoding="utf-8")
    with pytest.raises(SystemExit, match="scenes.json needs 'scenes', .* in number 1 'file' is 1, not text"):
        make_sample.main([*words, f"--questions={tmp_path / 'questions'}"])
    (tmp_path / "scenes.json").rename(tmp_path / "sample" / "scenes.json")
    own.write_bytes(asked + asked.splitlines(keepends=True)[1])  # its own of another time
    make_sample.main([*words, f"--questions={tmp_path / 'questions'}"])
    assert own.read_bytes() == asked
