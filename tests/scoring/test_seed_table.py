import json
from dataclasses import dataclass

from clipknight.training.runs import Run
from score import main as score_main

import pytest
import yaml


def main(words):
    return score_main(["seeds", *words])


@dataclass(frozen=True)
class Settings:
    seed: int


@pytest.fixture(scope="module")
def runs():
    """Two systems and their blend at two seeds, and two runs of seed 0 for an ablation."""
    for seed in (0, 1):
        a, b = 0.5 + 0.02 * seed, 0.4
        counts = {"valid_pairs": 5000, "train_captions": 30000}
        Run.start(f"table/a/{seed}", Settings(seed)).finish(avg_cos=a, **counts)
        Run.start(f"table/b/{seed}", Settings(seed)).finish(avg_cos=b, **counts | {"train_captions": 20000})
        members = {f"table/a/{seed}": a, f"table/b/{seed}": b}
        Run.start(f"table/both/{seed}", Settings(seed)).finish(avg_cos=a + 0.03, members=members)
    Run.start("table/k_5/0", Settings(0)).finish(avg_cos=0.41)
    Run.start("table/others/0", Settings(0)).finish(avg_cos=0.41, valid_pairs=40)


@pytest.fixture
def rows(tmp_path, runs):
    def write(**more):
        a = {"name": "A", "runs": "table/a", "paper": 0.3}
        b = {"name": "B", "runs": "table/b", "paper": 0.35}
        both = {"name": "A + B", "runs": "table/both", "paper": 0.36}
        k = {
            "ablation": "K",
            "seeds": [0],
            "rows": [{"name": "100", "runs": "table/b"}, {"name": "5", "runs": "table/k_5"}],
        }
        content = {"paper": "a paper", "seeds": [0, 1], "systems": [a, b, both], "ablations": [k], **more}
        (tmp_path / "rows.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
        return str(tmp_path / "rows.yaml")

    return write


def test_the_table_and_its_figures(rows, tmp_path, capsys):
    found = main([rows(), f"--out={tmp_path / 'made' / 'table.md'}"])
    assert (tmp_path / "made" / "table.md").read_text(encoding="utf-8").splitlines() == [
        "Valid Avg-Cos over 5,000 pairs, mean ± sample standard deviation over seeds; a paper.",
        "",
        "| | paper | over A | here | over A | seeds | training captions |",
        "|---|---:|---:|---:|---:|---:|---:|",
        "| A | 0.3000 |  | 0.5100 ± 0.0141 |  | 2 | 30,000 |",
        "| B | 0.3500 | +0.0500 | 0.4000 ± 0.0000 | -0.1100 ± 0.0141 | 2 | 20,000 |",
        "| A + B | 0.3600 | +0.0600 | 0.5400 ± 0.0141 | +0.0300 ± 0.0000 | 2 |  |",
        "",
        "A + B: +0.0300 ± 0.0000 over its best member, seed by seed; the paper's gains +0.0100.",
        "",
        "- The paper has B above A (0.3500 and 0.3000); here it is not: 0.4000 ± 0.0000 against 0.5100 ± 0.0141, "
        "above at 0 of 2 seeds.",
        "",
        "| K | here | over the first | seeds |",
        "|---|---:|---:|---:|",
        "| 100 | 0.4000 |  | 1 |",
        "| 5 | 0.4100 | +0.0100 | 1 |",
    ]
    assert "| A + B | 0.3600" in capsys.readouterr().out
    saved = json.loads((tmp_path / "made" / "table.json").read_text(encoding="utf-8"))
    assert [row["mean"] for row in saved["systems"]] == [row["mean"] for row in found["systems"]]
    assert saved["systems"][0]["scores"] == {"0": 0.5, "1": 0.52} and saved["systems"][1]["paper"] == 0.35
    assert saved["ablations"][0]["rows"][1]["mean"] == 0.41 and len(saved["order"]) == 1 and saved["missing"] == []


def test_missing_runs_are_named_unless_they_are_left_out(rows, tmp_path):
    file = rows(seeds=[0, 1, 2])
    with pytest.raises(
        SystemExit, match="3 runs of .* missing or not finished: table/a/2, table/b/2, table/both/2. Run"
    ):
        main([file, f"--out={tmp_path / 'table.md'}"])
    assert not (tmp_path / "table.md").exists()
    with pytest.raises(SystemExit, match="not one row of `systems`"):
        main([file, "--allow_missing"])
    gone = {"ablation": "gone", "rows": [{"name": "no", "runs": "table/no"}]}
    found = main([rows(ablations=[gone]), "--allow_missing", f"--out={tmp_path / 'table.md'}"])
    assert found["missing"] == ["table/no/0", "table/no/1"] and found["ablations"][0]["rows"] == []
    assert (
        (tmp_path / "table.md")
        .read_text(encoding="utf-8")
        .endswith("\n\nLeft out, not finished: table/no/0, table/no/1.\n")
    )


def test_rows_scored_on_different_pairs_are_refused(rows):
    other = {"ablation": "other", "seeds": [0], "rows": [{"name": "few", "runs": "table/others"}]}
    with pytest.raises(SystemExit, match="on different pairs: .*'few' on 40"):
        main([rows(ablations=[other])])


def test_mistakes_end_with_one_line(rows, tmp_path):
    with pytest.raises(SystemExit, match="name one file of rows"):
        main([])
    with pytest.raises(SystemExit, match="no file .*nowhere"):
        main(["nowhere.yaml"])
    with pytest.raises(SystemExit, match="--out table.json does not end in .md or .txt"):
        main([rows(), "--out=table.json"])
    for content in (
        "paper: p\nseeds: [0]\n",
        yaml.safe_dump({"paper": 1, "seeds": [], "systems": [], "x": 1}),
    ):
        (tmp_path / "wrong.yaml").write_text(content, encoding="utf-8")
        with pytest.raises(SystemExit, match="is no file of rows, which has ablations, paper, seeds, systems"):
            main([str(tmp_path / "wrong.yaml")])
