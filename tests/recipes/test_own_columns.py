"""From a table with columns of its own to a submission, on the command line: its names belong to that table alone."""

import csv
import shutil

import blend
import predict
import report
import submit
import train_b
from clipknight.ensemble.submission import read_submission
from clipknight.training.run_datasets import dataset_of, images_of_split
from clipknight.training.runs import Run

import pytest

CPU = ["--device=cpu", "--workers=0"]


@pytest.fixture(scope="module")
def table(coloured, tmp_path_factory):
    """A table of bild,wort beside its pictures, without splits."""
    folder = tmp_path_factory.mktemp("own")
    shutil.copytree(coloured / "Images", folder / "photos", ignore=shutil.ignore_patterns("test*"))
    with open(coloured / "captions.txt", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if not row["image"].startswith("test")]
    lines = ["bild,wort", *(f"{row['image']},{row['caption']}" for row in rows)]
    (folder / "table.csv").write_text("\n".join(lines), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def competition(coloured, tmp_path_factory):
    """The test pictures as the competition gives its own."""
    folder = tmp_path_factory.mktemp("competition")
    shutil.copytree(
        coloured / "Images", folder / "images", ignore=lambda _, names: [n for n in names if n[:4] != "test"]
    )
    ids = sorted(path.stem for path in (folder / "images").iterdir())
    (folder / "prompts.csv").write_text("imgId,prompt\n" + "".join(f"{id},a picture\n" for id in ids), encoding="utf-8")
    rows = "".join(f"{id}_{n},0\n" for id in ids for n in range(24))
    (folder / "sample_submission.csv").write_text(f"imgId_eId,val\n{rows}", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def ensemble(table, tiny_clip, colour_encoder):
    """A blend of two members on the table, told neither the table, nor its columns, nor the seed of its split."""
    for name, neighbors in (("b", 4), ("c", 2)):
        named = {
            "encoder": tiny_clip,
            "target_encoder": colour_encoder,
            "run": f"odd/{name}",
            "n_neighbors": neighbors,
        }
        words = [f"--{key}={value}" for key, value in named.items()]
        train_b.main([*words, f"--data={table}", "--image_column=bild", "--caption_column=wort", "--seed=3", *CPU])
    blend.main(["--members", "odd/b", "odd/c", "--weights", "1", "1", "--run=odd/ensemble", "--device=cpu"])
    return "odd/ensemble"


def test_a_blend_is_on_its_members_dataset(ensemble, table):
    made_on = dataset_of(Run.open(ensemble))
    assert (made_on.data, made_on.columns.image, made_on.columns.caption, made_on.seed) == (
        str(table),
        "bild",
        "wort",
        3,
    )
    assert images_of_split(Run.open(ensemble), "valid", device="cpu").ids.tolist() == list(
        Run.open(ensemble).predictions("valid").ids
    )
    words = ["--members", "odd/b", "odd/c", "--weights", "1", "1", "--run=odd/named", "--device=cpu"]
    blend.main([*words, f"--data={table / 'photos' / '..'}"])  # named, in other words
    assert dataset_of(Run.open("odd/named")).columns == made_on.columns


def test_another_dataset_is_read_by_its_own_columns(ensemble, competition, tmp_path, capsys):
    predict.main([f"--run={ensemble}", f"--data={competition}", "--split=test", f"--out={tmp_path / 'p'}", *CPU])
    run = Run.open(ensemble)
    assert len(images_of_split(run, "test", str(competition), "cpu")) == 6
    shutil.rmtree(run.folder / "predictions" / "test")
    predict.main([f"--run={ensemble}", f"--data={competition}", "--split=test", *CPU])
    submit.main([f"--run={ensemble}", f"--data={competition}", f"--out={tmp_path / 's.csv'}", "--device=cpu"])
    assert len(read_submission(tmp_path / "s.csv")) == 6


def test_the_report_of_a_blend_finds_its_dataset(ensemble, tmp_path):
    pytest.importorskip("matplotlib")
    assert report.main([f"--run={ensemble}", f"--out={tmp_path / 'r.html'}", "--device=cpu"]).is_file()


def test_members_on_several_datasets_need_one_named(ensemble, table, coloured):
    run = Run.start("odd/elsewhere", train_b.Settings(data=str(coloured)), "model_b")
    run.finish(avg_cos=0)
    with pytest.raises(
        SystemExit, match=r"odd/b, odd/elsewhere were made on .*own.* and .*coloured: name one by --data"
    ):
        blend.main(["--members", "odd/b", "odd/elsewhere", "--run=odd/mixed"])


def test_a_script_advises_no_flag_that_means_something_else(ensemble, table, tmp_path):
    shutil.copy(table / "table.csv", tmp_path / "table.csv")
    with pytest.raises(SystemExit, match="none of the files tried .*; put them there$"):
        predict.main([f"--run={ensemble}", f"--data={tmp_path}", "--split=valid", f"--out={tmp_path / 'p'}"])
