import json

from score import main as score_main

import pytest


def main(words):
    return score_main(["table", *words])


def write(folder, **runs):
    """A JSON file of score.py for each run."""
    for name, scores in runs.items():
        (folder / f"{name}.json").write_text(json.dumps(scores), encoding="utf-8")
    return [str(folder / f"{name}.json") for name in runs]


@pytest.fixture
def files(tmp_path):
    one = {"Bleu_4": 0.2126, "METEOR": 0.2, "CIDEr": 0.5461, "SPICE": None, "images": 1000}
    return write(tmp_path, one=one, two={"Bleu_4": 0.1, "METEOR": 0.20041, "CIDEr": 1.2}, three={"Bleu_4": 0.05})


def test_a_row_a_file_with_the_best_in_bold(files, tmp_path, capsys):
    table = main([*files, "--columns", "Bleu_4", "METEOR", "CIDEr", "SPICE", "--out", str(tmp_path / "table.md")])
    assert table.loc["two", "CIDEr"] == 120 and table.index.tolist() == ["one", "two", "three"]
    assert (tmp_path / "table.md").read_text(encoding="utf-8").splitlines() == [
        "|  | Bleu_4 | METEOR | CIDEr | SPICE |",
        "|---|---:|---:|---:|---:|",
        "| one | **21.3** | **20.0** | 54.6 |  |",  # bold with what prints the same
        "| two | 10.0 | **20.0** | **120.0** |  |",
        "| three | 5.0 |  |  |  |",
    ]
    assert (tmp_path / "table.md").read_text(encoding="utf-8") == capsys.readouterr().out


def test_scores_of_embeddings_are_no_percents(tmp_path, capsys):
    main([*write(tmp_path, a={"avg_cos": 0.56593}, b={"avg_cos": 0.5}), "--columns", "avg_cos"])
    assert "| a | **0.5659** |\n| b | 0.5000 |" in capsys.readouterr().out


def test_what_makes_no_table(files, tmp_path):
    with pytest.raises(SystemExit, match="name the JSON files"):
        main([])
    with pytest.raises(SystemExit, match="no file missing.json"):
        main(["missing.json"])
    (tmp_path / "other").mkdir()
    with pytest.raises(SystemExit, match="two files have one name"):
        main([files[0], *write(tmp_path / "other", one={})])
    with pytest.raises(SystemExit, match="list.json holds no scores: score.py writes them with --json"):
        main(write(tmp_path, list=[]))
