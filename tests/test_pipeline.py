"""From images to the submission, by the commands a user runs, on tiny models; and what running it twice does."""

import pipeline
import predict
import score
from clipknight.embeddings import Embeddings
from clipknight.runs import Run
from clipknight.submission import read_submission

import numpy as np
import pytest
import yaml


@pytest.fixture(scope="module")
def steps(coloured, tiny_clip, tiny_target_encoder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pipeline")
    common = {"data": str(coloured), "target_encoder": str(tiny_target_encoder), "device": "cpu"}
    train = {**common, "precision": "fp32", "workers": 0}
    tune = {**train, "batch_size": 8, "freeze_below": 0.0, "encoder": str(tiny_clip)}
    csv = str(folder / "submission.csv")
    members = ["whole/a", "whole/b", "whole/b_joint"]
    content = [
        {"train_clip": {**tune, "run": "whole/clip", "epochs": 1}},
        {"train_a": {**tune, "run": "whole/a", "epochs": 1, "head_epochs": 5}},
        {"train_b": {**train, "run": "whole/b", "encoder": str(tiny_clip), "n_neighbors": 5}},
        {"train_b": {**train, "run": "whole/b_joint", "encoder": "whole/clip", "space": "joint", "n_neighbors": 5}},
        {"blend": {**common, "members": members, "run": "whole/ensemble", "folds": 2, "similarity": 0.999}},
        {"submit": {"run": "whole/ensemble", "split": "test", "out": csv}},
        {"report": {**common, "run": "whole/ensemble", "out": str(folder / "report.html"), "pictures": 4}},
    ]
    file = folder / "steps.yaml"
    file.write_text(yaml.safe_dump(content))
    pipeline.main([str(file)])
    return file


def test_the_submission_holds_the_ensembles_test_predictions(steps):
    submission = read_submission(steps.parent / "submission.csv")
    assert list(submission.ids) == [f"test{i:02d}" for i in range(6)]
    predictions = Run.open("whole/ensemble").predictions("test")
    np.testing.assert_allclose(submission.vectors, predictions.aligned_to(submission.ids).vectors, atol=1e-6)
    lines = (steps.parent / "submission.csv").read_text().splitlines()
    assert len(lines) == 1 + 6 * 24
    assert lines[0] == "imgId_eId,val"
    assert lines[1].startswith("test00_0,")
    assert lines[-1].startswith("test05_23,")


def test_the_submission_scores_better_than_chance(steps, coloured, tiny_target_encoder):
    argv = ["--submission", str(steps.parent / "submission.csv"), "--captions", str(coloured / "captions.txt")]
    found = score.main(["submission", *argv, "--target_encoder", str(tiny_target_encoder), "--allow_partial"])
    assert found["pairs"] == 30
    assert found["avg_cos"] > 0.6


def test_predictions_of_a_folder_equal_those_of_the_split(steps, coloured, tmp_path):
    predict.main(["--run", "whole/ensemble", "--images", str(coloured / "Images"), "--out", str(tmp_path / "all")])
    split = Run.open("whole/ensemble").predictions("test")
    found = Embeddings.load(tmp_path / "all").aligned_to(split.ids)
    np.testing.assert_allclose(found.vectors, split.vectors, atol=1e-5)


def test_the_report_shows_every_member_and_its_pictures(steps):
    page = (steps.parent / "report.html").read_text()
    for name in ("whole/a", "whole/b_joint", "whole/ensemble", "learning curves"):
        assert name in page
    assert page.count("data:image/jpeg") == 4


def test_finished_runs_are_skipped_and_changed_ones_made_again_with_all_after_them(steps, capsys):
    pipeline.main([str(steps)])
    assert capsys.readouterr().out.count("finished before") == 5
    content = yaml.safe_load(steps.read_text())
    content[3]["train_b"]["n_neighbors"] = 4
    changed = steps.with_name("changed.yaml")
    changed.write_text(yaml.safe_dump(content))
    pipeline.main([str(changed)])
    assert capsys.readouterr().out.count("finished before") == 3
    assert Run.open("whole/b_joint").settings["n_neighbors"] == 4


def test_a_missing_file_of_steps_is_named(tmp_path):
    with pytest.raises(SystemExit, match=r"no file .*nowhere\.yaml"):
        pipeline.main([str(tmp_path / "nowhere.yaml")])
