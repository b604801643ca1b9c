"""No script writes over what it reads, whichever way both are named."""

import importlib
import shutil
from pathlib import Path

from clipknight.training.runs import Run

import pytest
from run_folders import files


@pytest.fixture(scope="module")
def folder(coloured, image_run, tmp_path_factory) -> Path:
    """data/, its captions again as rows.csv and rows.json, a picture, and copy/: a run."""
    folder = tmp_path_factory.mktemp("inputs")
    shutil.copytree(coloured, folder / "data")
    shutil.copytree(Run.open(image_run).folder, folder / "copy")
    shutil.copy(coloured / "Images" / "test00.png", folder / "photo.html")  # whatever it is called
    for name in ("rows.csv", "data/sample_submission.csv", "data/old.html"):
        shutil.copy(coloured / "captions.txt", folder / name)
    (folder / "rows.json").write_text('{"a": ["b"]}', encoding="utf-8")
    (folder / "link.csv").symlink_to(folder / "rows.csv")
    (folder / "link.json").symlink_to(folder / "rows.json")
    return folder


REPLACING = [
    "caption --split test --data data --out data/sample_submission.csv",
    "caption data/Images --corpus rows.csv --out link.csv",
    "caption photo.html --out new.csv --html photo.html",
    "caption data/Images --out new.csv --html ./new.csv",
    "caption --split test --data data --out data/old.csv",  # its page would be data/old.html
    "caption data/Images --out copy/run.json",
    "answer --questions rows.csv --out rows.csv",
    "answer --questions rows.csv --train link.csv --images data --out rows.csv",
    "answer --questions rows.csv --out new.csv --json rows.json --images rows.json",
    "submit --data data --out data/sample_submission.csv",
    "submit --out copy/scores.csv",
    "predict --images data --out new --csv data/sample_submission.csv",
    "filter_captions --table rows.csv --out link.csv",
    "filter_captions --data data --out data/sample_submission.csv",
    "report --data data --out data/old.html",
    "score submission --submission rows.csv --captions rows.json --json link.json",
    "score captions --candidates rows.json --references rows.csv --json link.json",
    "studies.fold_study --data rows.json --out link.json",
]
OTHER_KINDS = [
    "caption data/Images --out new.txt",
    "caption data/Images --out new.csv --html new.csv.gz",
    "answer --questions rows.csv --out new.json",
    "submit --out new.json",
    "predict --images data --out new --csv new.parquet",
    "filter_captions --table rows.csv --out new.json",
    "report --data data --out new.csv",
    "score captions --candidates rows.json --references rows.csv --json new.csv",
    "score table rows.json --out new.json",
    "score ladder a --out new.md",
]


@pytest.mark.parametrize("command", REPLACING + OTHER_KINDS)
def test_it_is_refused_before_any_work(folder, monkeypatch, command):
    monkeypatch.chdir(folder)
    script, *words = command.split()
    if script in ("caption", "answer", "submit", "predict", "report"):
        words.append(f"--run={folder / 'copy'}")
    (folder / "copy" / "scores.csv").write_text("member,avg_cos", encoding="utf-8")
    before = {name: (folder / name).read_bytes() for name in files(folder)}
    with pytest.raises(SystemExit, match=r"would replace|(does not|neither|none of).* \.") as refused:
        importlib.import_module(script).main(words)
    assert len(str(refused.value)) < 500 and "\n" not in str(refused.value)
    assert {name: (folder / name).read_bytes() for name in files(folder)} == before


def test_a_folder_that_holds_more_than_embeddings_is_not_replaced(folder, monkeypatch):
    monkeypatch.chdir(folder)
    rows = folder / "mine"
    shutil.copytree(folder / "copy" / "predictions" / "test", rows)
    (rows / "thesis.txt").write_text("precious", encoding="utf-8")
    with pytest.raises(SystemExit, match="mine is not a folder of embeddings: choose another --out"):
        importlib.import_module("predict").main(
            ["--images=data", "--out=mine", "--overwrite", f"--run={folder / 'copy'}", "--device=cpu"]
        )
    assert (rows / "thesis.txt").read_text(encoding="utf-8") == "precious"
