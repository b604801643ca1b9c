"""From images to the submission, by the commands a user runs, on tiny models; and what running it twice does."""

import importlib

import pipeline
import predict
import score
from clipknight.embedding.embeddings import Embeddings
from clipknight.ensemble.submission import read_submission
from clipknight.paths import ROOT
from clipknight.pipeline_file import steps_of
from clipknight.settings import load_settings
from clipknight.training.runs import Run
from clipknight.training.settings import RunSettings

import numpy as np
import pytest
import yaml
from run_folders import break_off


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
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    pipeline.main([str(file)])
    return file


def test_the_submission_holds_the_ensembles_test_predictions(steps):
    submission = read_submission(steps.parent / "submission.csv")
    assert list(submission.ids) == [f"test{i:02d}" for i in range(6)]
    predictions = Run.open("whole/ensemble").predictions("test")
    np.testing.assert_allclose(submission.vectors, predictions.aligned_to(submission.ids).vectors, atol=1e-6)
    lines = (steps.parent / "submission.csv").read_text(encoding="utf-8").splitlines()
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
    page = (steps.parent / "report.html").read_text(encoding="utf-8")
    for name in ("whole/a", "whole/b_joint", "whole/ensemble", "learning curves"):
        assert name in page
    assert page.count("data:image/jpeg") == 4


def test_finished_runs_are_skipped_and_changed_ones_made_again_with_all_that_name_them(steps, capsys):
    pipeline.main([str(steps)])
    assert capsys.readouterr().out.count("finished before") == 5
    content = yaml.safe_load(steps.read_text(encoding="utf-8"))
    content[2]["train_b"]["n_neighbors"] = 4
    changed = steps.with_name("changed.yaml")
    changed.write_text(yaml.safe_dump(content), encoding="utf-8")
    pipeline.main([str(changed)])
    said = capsys.readouterr().out
    assert said.count("finished before") == 3  # b_joint, which follows b, does not stand on it
    assert "step 1 of 7" in said and "step 7 of 7" in said
    assert Run.open("whole/b").settings["n_neighbors"] == 4


def test_a_run_made_anew_makes_stale_what_names_it(steps, capsys):
    content = yaml.safe_load(steps.read_text(encoding="utf-8"))[:5]
    content[0]["train_clip"]["seed"] = 1
    changed = steps.with_name("reseeded.yaml")
    changed.write_text(yaml.safe_dump(content[:4]), encoding="utf-8")
    rest = steps.with_name("rest.yaml")
    rest.write_text(yaml.safe_dump(content[4:]), encoding="utf-8")
    pipeline.main([str(steps)])
    capsys.readouterr()
    pipeline.main([str(changed), str(rest)])
    assert capsys.readouterr().out.count("finished before") == 2  # a and b: b_joint is on clip, the ensemble on b_joint


def test_the_ways_to_name_a_run():
    settings = {"run": "own", "encoder": "outputs/a/b@224", "from": "outputs/c/best", "members": ["m/0", "n"], "k": 5}
    assert pipeline.named_in(settings) == {"a/b", "c", "m/0", "n", "5"}


def test_a_file_that_was_killed_goes_on_where_it_was(
    coloured, tiny_clip, tiny_target_encoder, tmp_path, capsys, monkeypatch
):
    """A seed's run is broken off: the one before it is skipped, it is resumed, and those after it are made."""
    file, common = tmp_path / "seeds.yaml", {"data": str(coloured), "encoder": str(tiny_clip), "seed": "$seed"}
    options = {"target_encoder": str(tiny_target_encoder), "device": "cpu", "precision": "fp32", "workers": 0}
    train = {"epochs": 1, "batch_size": 8, "head_epochs": 2, "save_every": 1, "run": "killed/a/$seed"}
    repeated = {"for": {"seed": [0, 1, 2]}, "steps": [{"train_a": {**common, **options, **train}}]}
    file.write_text(yaml.safe_dump([repeated]), encoding="utf-8")
    break_off(monkeypatch, pipeline.main, [str(file)], 6)  # four saves a run
    assert not Run.open("killed/a/1").finished and not Run.at("killed/a/2").exists
    capsys.readouterr()
    pipeline.main([str(file)])
    said = capsys.readouterr().out
    assert said.count("finished before") == 1 and "--seed 1" in said
    assert [Run.open(f"killed/a/{seed}").settings["seed"] for seed in range(3)] == [0, 1, 2]
    assert [event["epoch"] for event in Run.open("killed/a/1").events()] == [-1, 0]  # its first stage was not repeated
    pipeline.main([str(file)])
    assert capsys.readouterr().out.count("finished before") == 3


def test_steps_are_repeated_for_each_combination():
    inner = {"for": {"power": [1, 2.5]}, "steps": [{"train_b": {"run": "b_${power}x/$seed", "power": "$power"}}]}
    blended = {"blend": {"members": ["a/$seed", "b"], "folds": 5, "note": "5 $$"}}
    entries = [{"make_sample": None}, {"for": {"seed": [0, 1]}, "steps": [inner, blended]}, {"submit": {"run": "$x"}}]
    assert list(steps_of(entries, {})) == [
        ("make_sample", {}),
        ("train_b", {"run": "b_1x/0", "power": "1"}),
        ("train_b", {"run": "b_2.5x/0", "power": "2.5"}),
        ("blend", {"members": ["a/0", "b"], "folds": 5, "note": "5 $"}),
        ("train_b", {"run": "b_1x/1", "power": "1"}),
        ("train_b", {"run": "b_2.5x/1", "power": "2.5"}),
        ("blend", {"members": ["a/1", "b"], "folds": 5, "note": "5 $"}),
        ("submit", {"run": "$x"}),
    ]


@pytest.mark.parametrize(
    "entry, said",
    [
        (
            {"for": {"seed": [0]}, "steps": [{"blend": {"run": "a/$sed"}}]},
            "'a/\\$sed' names more than its `for` gives: seed",
        ),
        ({"for": {"seed": 3}, "steps": []}, "gives each name a list"),
        ({"for": {"seed": [0]}, "blend": {}}, "stands beside `steps`"),
        ({"blend": {}, "submit": {}}, "no step: .*one script's name"),
        ("blend", "no step: 'blend'"),
    ],
)
def test_a_step_that_makes_no_sense_is_named_before_anything_runs(tmp_path, entry, said):
    file = tmp_path / "steps.yaml"
    file.write_text(yaml.safe_dump([entry]), encoding="utf-8")
    with pytest.raises(SystemExit, match=said):
        pipeline.main([str(file)])


TABLE1 = [ROOT / "configs" / "table1" / name for name in ("systems.yaml", "ablations.yaml")]
SEEDED = [*TABLE1, ROOT / "configs" / "ladder_seeds" / "training.yaml"]


@pytest.mark.parametrize("file", sorted({*ROOT.glob("configs/*.yaml"), *SEEDED}), ids=lambda file: file.name)
def test_every_shipped_step_has_settings_that_its_script_knows(file):
    steps = pipeline.read_steps(str(file))
    runs = [step.run for step in steps if step.run]
    assert steps and len(runs) == len(set(runs))
    for step in steps:
        lists = {name for name, value in step.given.items() if isinstance(value, list)}
        assert all(isinstance(getattr(step.settings, name), list) for name in lists)


def test_scripts_say_themselves_whether_they_make_a_run():
    making = {"train_a", "train_b", "train_clip", "train_knight", "train_maccap", "blend", "refine", "recognise"}
    scripts = {name: importlib.import_module(name) for name in pipeline.SCRIPTS}
    found = {name for name, script in scripts.items() if issubclass(getattr(script, "Settings", object), RunSettings)}
    assert found == making
    assert pipeline.checked("submit", {"run": "read"}).run == ""


GOOD = {"submit": {"run": "nowhere"}}


@pytest.mark.parametrize(
    "entry, problem",
    [
        ({"timeit -n1 -r1 __import__('os').system('touch${IFS}made')": {}}, "no script is called 'timeit'; there are "),
        ({"clipknight.training.runs": {}}, "no script is called"),
        ({"pipeline": {"steps": ["other.yaml"]}}, "no script is called 'pipeline'"),
        ({"": {}}, "no script is called ''"),
        ({"score": {}}, "'score' is no command of score.py; give score submission, score captions"),
        ({"score captoins": {}}, "'score captoins' is no command of score.py"),
        ({"submit now": {}}, "'submit now' is no command of submit.py; give submit"),
        ({"score captions": {"candidate": "c.csv"}}, "unknown flag --candidate; do you mean --candidates?"),
        ({"train_b": {"data": "d", "n_neighbors": 0}}, "--n_neighbors 0 is not allowed: give a whole number from 1"),
        ({"train_b": {"data": "d", "config": "absent.yaml"}}, "no file absent.yaml"),
        ({"train_b": 5}, "no settings: '5'; they are a mapping"),
        ({"train_b": {"run": "x"}}, "give --data"),
        ({"for": 5, "steps": []}, "`for` gives each name a list"),
        ({"for": {"a": [1]}, "steps": 7}, "`steps` is a list, unlike '7'"),
    ],
)
def test_every_step_of_every_file_is_checked_before_the_first_runs(tmp_path, monkeypatch, entry, problem):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pipeline, "run_step", lambda *_: pytest.fail("a step has run"))
    (tmp_path / "first.yaml").write_text(yaml.safe_dump([GOOD]), encoding="utf-8")
    (tmp_path / "second.yaml").write_text(yaml.safe_dump([GOOD, GOOD, entry]), encoding="utf-8")
    with pytest.raises(SystemExit) as refused:
        pipeline.main(["first.yaml", "second.yaml"])
    assert str(refused.value).startswith(f"error: second.yaml, step 3: {problem}")
    assert len(str(refused.value)) <= 500 and "\n" not in str(refused.value)
    assert not (tmp_path / "made").exists()


def test_a_null_in_a_step_is_the_scripts_null():
    assert pipeline.checked("train_b", {"data": "d", "n_neighbors": None}).settings.n_neighbors is None


def test_the_rows_of_table_1_are_made_by_its_steps():
    made = {step.run: step.settings.seed for file in TABLE1 for step in pipeline.read_steps(str(file)) if step.run}
    table = load_settings(ROOT / "configs" / "table1" / "table.yaml")
    for group in ({"rows": table["systems"]}, *table["ablations"]):
        for row in group["rows"]:
            for seed in group.get("seeds", table["seeds"]):
                assert made[f"{row['runs']}/{seed}"] == seed


def test_a_missing_file_of_steps_is_named(tmp_path):
    with pytest.raises(SystemExit, match=r"no file .*nowhere\.yaml"):
        pipeline.main([str(tmp_path / "nowhere.yaml")])
