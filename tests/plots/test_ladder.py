import json
from dataclasses import dataclass

from clipknight.embedding.embeddings import Embeddings
from clipknight.training.runs import Run
from score import main as score_main

import numpy as np
import pytest


def main(words):
    return score_main(["ladder", *words])


@dataclass(frozen=True)
class Settings:
    seed: int = 0
    target_encoder: str = "minilm"


def save(name, score, ids=("x", "y"), settings=Settings(), blended=None, members=None, **summary):
    """A run as scripts leave it: ladder/<name>."""
    info = {} if members is None else {"members": [f"ladder/{member}" for member in members]}
    run = Run.start(f"ladder/{name}", settings, overwrite=True, **info)
    meta = {} if blended is None else {"blended": blended}
    run.save_predictions("valid", Embeddings(np.array(ids), np.ones((len(ids), 3), np.float32), meta))
    run.finish(**({} if score is None else {"avg_cos": score}), **summary)
    return run


@pytest.fixture(scope="module", autouse=True)
def runs(outputs):
    save("b", 0.51, valid_pairs=10)
    save("a", 0.55, settings=Settings(seed=3), valid_pairs=10)
    save("blend", 0.5625, members=["b", "a"], blended="cross-fitted, 5 folds")  # says nothing of pairs
    save("worse", 0.56, members=["blend", "a"], blended="given weights", valid_pairs=10)


def ladder(*names, out):
    return main([*(f"ladder/{name}" for name in names), "--out", str(out)])


def test_scores_gains_and_how_they_were_made(tmp_path, capsys):
    found = ladder("b", "a", "blend", "worse", out=tmp_path / "deep" / "ladder.json")
    assert [step["run"] for step in found] == ["ladder/b", "ladder/a", "ladder/blend", "ladder/worse"]
    assert [step["avg_cos"] for step in found] == [0.51, 0.55, 0.5625, 0.56]
    assert found[0]["gain"] is None
    assert [step["gain"] for step in found[1:]] == pytest.approx([0.04, 0.0125, -0.0025])
    assert [step["pairs"] for step in found] == [10] * 4 and [step["seed"] for step in found] == [0, 3, 0, 0]
    assert [step["how"] for step in found] == ["", "", "cross-fitted, 5 folds", "given weights"]
    assert json.loads((tmp_path / "deep" / "ladder.json").read_text(encoding="utf-8")) == found
    assert (tmp_path / "deep" / "ladder.png").read_bytes().startswith(b"\x89PNG")
    lines = (tmp_path / "deep" / "ladder.md").read_text(encoding="utf-8").splitlines()
    assert lines[2:] == [
        "| ladder/b | 0.5100 |  | 10 | 0 |  |",
        "| ladder/a | 0.5500 | +0.0400 | 10 | 3 |  |",
        "| ladder/blend | **0.5625** | +0.0125 | 10 | 0 | cross-fitted, 5 folds |",
        "| ladder/worse | 0.5600 | -0.0025 | 10 | 0 | given weights |",
    ]
    assert lines[3] in capsys.readouterr().out


def test_labels_instead_of_names(tmp_path):
    out = ["--out", str(tmp_path / "ladder.json")]
    found = main(["ladder/b", "ladder/a", "--labels", "Model B", "Model A", *out])
    assert [step["label"] for step in found] == ["Model B", "Model A"]
    assert "| Model A | **0.5500** |" in (tmp_path / "ladder.md").read_text(encoding="utf-8")
    with pytest.raises(SystemExit, match="1 labels for 2 runs"):
        main(["ladder/b", "ladder/a", "--labels", "Model B", *out])


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("images", {"score": 0.5, "ids": ("x", "z"), "valid_pairs": 10}, "scored on other images than 'ladder/b'"),
        ("pairs", {"score": 0.5, "valid_pairs": 12}, r"scored on other pairs \(12\) than 'ladder/b'"),
        ("targets", {"score": 0.5, "settings": Settings(target_encoder="e5"), "valid_pairs": 10}, "predicts 'e5'"),
        ("clip", {"score": None}, "'ladder/clip' has no valid Avg-Cos"),
    ],
)
def test_what_has_no_place_on_a_ladder(tmp_path, name, options, message):
    save(name, **options)
    with pytest.raises(SystemExit, match=message):
        ladder("b", name, out=tmp_path / "ladder.json")
    assert not list(tmp_path.iterdir())


def test_unfinished_unknown_and_no_runs(tmp_path):
    Run.start("ladder/begun", Settings(), overwrite=True)
    with pytest.raises(SystemExit, match="'ladder/begun' has no score, for it is not finished"):
        ladder("b", "begun", out=tmp_path / "ladder.json")
    with pytest.raises(SystemExit, match="no run 'ladder/none'"):
        ladder("none", out=tmp_path / "ladder.json")
    with pytest.raises(SystemExit, match="name the runs"):
        main([])
