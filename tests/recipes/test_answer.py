import json
import shutil

import train_knight
from answer import main
from clipknight.data.questions import is_right
from clipknight.training.runs import Run

import pandas as pd
import pytest
import tiny_models
import yaml

COLOURS = list(tiny_models.COLOURS)


@pytest.fixture(scope="module")
def language_model(tmp_path_factory):
    """Random, with room for captions and a question."""
    return tiny_models.write_language_model(tmp_path_factory.mktemp("lm") / "llama", "llama", 1, 512)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out" / "answers.csv"


@pytest.fixture
def argv(knight_run, language_model, out):
    def words(*more):
        named = {"run": knight_run, "language_model": language_model, "out": out}
        options = {"device": "cpu", "precision": "fp32", "workers": 0, "captions": 2}
        return [*(f"--{name}={value}" for name, value in {**named, **options}.items()), *map(str, more)]

    return words


@pytest.fixture
def files(coloured, tmp_path):
    """Questions about six pictures in as many colours, and others to learn the commonest answers from."""
    rows = []
    for i, colour in enumerate(COLOURS):
        name = str(coloured / "Images" / f"dev{i:02d}.png")
        rows += [(name, "what colour is it?", colour, "colour"), (name, "is it red?", "no|never", "yes/no")]
    valid = pd.DataFrame(rows, columns=["image", "question", "answer", "kind"])
    train = valid.assign(answer=["green", "no"] * 6)
    for name, table in (("valid", valid), ("train", train)):
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    return tmp_path


# What comes out


def test_one_question_about_images_and_folders(argv, coloured, tmp_path, out, capsys):
    shutil.copy(coloured / "Images" / "dev00.png", tmp_path / "one.png")
    (tmp_path / "more").mkdir()
    shutil.copy(coloured / "Images" / "dev01.png", tmp_path / "more" / "two.png")
    table = main(argv(tmp_path / "one.png", tmp_path / "more", "--question=what is it?"))
    assert list(table) == ["image", "question", "answer"]
    assert table["image"].tolist() == [f"{tmp_path}/one.png", f"{tmp_path}/more/two.png"]
    pd.testing.assert_frame_equal(pd.read_csv(out, dtype="str", keep_default_na=False), table.astype("str"))
    assert [path.name for path in out.parent.iterdir()] == ["answers.csv"]
    assert f"one.png: what is it? {table['answer'][0]}\n" in capsys.readouterr().out
    alone = main(argv(tmp_path / "more" / "two.png", "--question=what is it?"))
    assert alone["answer"][0] == table["answer"][1]


def test_accuracy_by_kind_beside_the_baselines(argv, files, capsys):
    table = main(
        argv(f"--questions={files / 'valid.csv'}", f"--train={files / 'train.csv'}", f"--json={files / 'x.json'}")
    )
    assert table["expected"].tolist()[:2] == ["red", "no|never"]
    scores = json.loads((files / "x.json").read_text(encoding="utf-8"))
    assert list(scores) == ["colour", "yes/no", "all"]
    assert [scores[kind]["commonest"] for kind in scores] == pytest.approx([1 / 6, 1, 7 / 12])  # green; no
    for kind, rows in table.groupby("kind"):
        right = [is_right(row.answer, row.expected) for row in rows.itertuples()]
        assert scores[kind]["answers"] == pytest.approx(sum(right) / 6) and scores[kind]["questions"] == 6
    assert "without the image" in capsys.readouterr().out


def test_choices(argv, files):
    table = main(argv(f"--questions={files / 'valid.csv'}", "--choices", "maybe", "never"))
    assert set(table["answer"]) <= {"maybe", "never"}


def test_a_closed_set_of_each_kind(argv, files):
    train = pd.read_csv(files / "train.csv")
    train["answer"] = ["red|crimson", "yes", "blue", "no"] * 3
    train.to_csv(files / "train.csv", index=False)
    table = main(argv(f"--questions={files / 'valid.csv'}", f"--train={files / 'train.csv'}", "--closed"))
    assert set(table["answer"][table["kind"] == "colour"]) <= {"red", "blue"}
    assert set(table["answer"][table["kind"] == "yes/no"]) <= {"yes", "no"}


def test_the_image_as_a_prefix(argv, knight_argv, language_model, image_run, files):
    frozen = [f"--decoder={language_model}", "--freeze_decoder", "--epochs=1", "--max_tokens=40"]
    train_knight.main(knight_argv("prefix", *frozen))
    words = [
        "--run=captioning/prefix",
        f"--from={image_run}",
        "--image_as=prefix",
        f"--questions={files / 'valid.csv'}",
    ]
    table = main(argv(*words))
    assert len(table) == 12 and table["answer"].map(len).min() > 0
    assert table["answer"][table["kind"] == "colour"].nunique() > 1  # it is told something


# Mistakes


@pytest.mark.parametrize(
    "words, message",
    [
        ([], "say what to answer: IMAGE... --question"),
        (["x.png"], "say what to answer"),
        (["--question=what?"], "say what to answer"),
        (["x.png", "--question=what?", "--questions=x.csv"], "say what to answer"),
        (["--questions=absent.csv"], "no file of questions absent.csv"),
        (["absent.png", "--question=what?"], "absent.png does not exist"),
        (
            ["x.png", "--question=what?", "--image_as=pixels"],
            "--image_as pixels is not allowed: give one of",
        ),
        (["x.png", "--question=what?", "--closed"], "--closed chooses among the answers of --train FILE"),
        (["x.png", "--question=what?", "--max_tokens=0"], "--max_tokens 0 is not allowed: give a whole number from 1"),
        (["x.png", "--question=what?", "--colour=red"], "colour"),
    ],
)
def test_mistakes(argv, out, words, message, capsys):
    with pytest.raises(SystemExit) as error:
        main(argv(*words))
    assert message in str(error.value) + capsys.readouterr().err
    assert not out.parent.exists()


def test_files_that_are_wrong(argv, files, coloured, out):
    questions = f"--questions={files / 'valid.csv'}"
    pd.DataFrame({"image": ["dev00.png", "x.png"], "question": "what?"}).to_csv(files / "named.csv", index=False)
    with pytest.raises(SystemExit, match="1 images are not there: x.png; say their folder, --images FOLDER"):
        main(argv(f"--questions={files / 'named.csv'}", f"--images={coloured / 'Images'}"))
    with pytest.raises(SystemExit, match="give one"):
        main(argv(questions, f"--train={files / 'train.csv'}", "--closed", "--choices", "red"))
    pd.read_csv(files / "train.csv").assign(kind="colour").to_csv(files / "train.csv", index=False)
    with pytest.raises(SystemExit, match="train.csv has no question of the kind yes/no"):
        main(argv(questions, f"--train={files / 'train.csv'}", "--closed"))
    pd.read_csv(files / "train.csv").drop(columns="answer").to_csv(files / "train.csv", index=False)
    with pytest.raises(SystemExit, match="train.csv has no column answer"):
        main(argv(questions, f"--train={files / 'train.csv'}"))
    with pytest.raises(SystemExit, match="not videos: .*clip.mp4"):
        (files / "clip.mp4").touch()
        main(argv(files / "clip.mp4", "--question=what?"))
    assert not out.parent.exists()


def test_unreadable_images(argv, coloured, tmp_path, out):
    shutil.copy(coloured / "Images" / "dev00.png", tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(SystemExit, match="1 unreadable images: .*bad.png: not an image"):
        main(argv(tmp_path, "--question=what?"))
    assert not out.parent.exists()
    table = main(argv(tmp_path, "--question=what?", "--skip_unreadable"))
    assert table["image"].tolist() == ["good.png"]


def test_runs_that_do_not_fit(argv, coloured, knight_run, image_run, tiny_clip, outputs):
    words = [coloured / "Images" / "dev00.png", "--question=what?"]
    with pytest.raises(SystemExit, match="captioning/b captions nothing"):
        main(argv(*words, f"--run={image_run}"))
    with pytest.raises(SystemExit, match="gives embeddings of the space .'clip'.*retrieves in .'target'"):
        main(argv(*words, f"--from={tiny_clip}"))
    folder = shutil.copytree(Run.open(knight_run).folder, outputs / "captioning" / "questioned")
    settings = Run(folder).settings
    (folder / "settings.yaml").write_text(
        yaml.safe_dump(settings | {"from_": "", "decoder": "compact"}), encoding="utf-8"
    )
    with pytest.raises(SystemExit, match="trained on text alone"):
        main(argv(*words, "--run=captioning/questioned"))
    with pytest.raises(SystemExit, match="knows captions alone; .*--decoder smollm2 --freeze_decoder"):
        main(argv(*words, "--run=captioning/questioned", "--image_as=prefix"))
