"""What a script imports before it has answered --help, or refused a typo: nothing that takes long.

And what a caption by the starter takes: torch, but none of the libraries that others are captioned or trained with.
"""

import json
import os
import subprocess
import sys

from clipknight.paths import ROOT

import pytest

HEAVY = {"cv2", "faiss", "joblib", "matplotlib", "open_clip", "pandas", "pyarrow", "scipy", "sentence_transformers"}
HEAVY |= {"huggingface_hub", "numpy", "PIL", "sklearn", "timm", "torch", "torchvision", "transformers"}
UNUSED = {"open_clip", "sentence_transformers", "sklearn", "timm", "torch._dynamo", "torchvision", "transformers"}
SRC = ROOT / "src"
SCRIPTS = sorted(file.relative_to(SRC).as_posix() for folder in (SRC, SRC / "studies") for file in folder.glob("*.py"))
ASKED = [[script, flag] for script in SCRIPTS for flag in ("--help", "--hlep")]
ASKED += [["score.py", command, flag] for command in ("captions", "ladder", "table") for flag in ("--help", "--hlep")]
SILENT = [["caption.py"], ["pack.py"], ["predict.py"]]  # their settings are allowed one by one, but say nothing
STEPS = {
    "script.yaml": "[{train_a: {data: d, run: a}}, {train_z: {run: z}}]",
    "setting.yaml": "[{train_a: {data: d, run: a}}, {score captions: {candidates: c, rfeerences: r}}]",
}
ASK = """
import contextlib, io, json, runpy, sys
answers = {}
for script, *words in json.loads(sys.stdin.read()):
    sys.argv, page, before = [script, *words], io.StringIO(), set(sys.modules)
    with contextlib.redirect_stdout(page):
        try:
            runpy.run_path(script, run_name="__main__")
        except SystemExit as end:
            answers[" ".join(sys.argv)] = end.code, page.getvalue(), sorted(set(sys.modules) - before)
print(json.dumps(answers))
"""
CAPTION = """
import sys
from caption import main
main([sys.argv[1], "--out", sys.argv[2], "--workers=0", "--device=cpu"])
print(*sys.modules)
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory) -> dict:
    """(exit code, page, modules that it was the first to import) of each command, all asked in one process."""
    steps = tmp_path_factory.mktemp("steps")
    for name, text in STEPS.items():
        (steps / name).write_text(text, encoding="utf-8")
    asked = ASKED + SILENT + [["pipeline.py", str(steps / name)] for name in STEPS]
    call = {"input": json.dumps(asked), "cwd": SRC, "env": os.environ | {"PYTHONPATH": str(SRC)}}
    ended = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, **call)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def test_help_and_a_typo_import_nothing_heavy(answers):
    imported = {command: HEAVY.intersection(modules) for command, (_, _, modules) in answers.items()}
    assert {command: found for command, found in imported.items() if found} == {}


@pytest.mark.parametrize("words", ASKED + SILENT, ids=" ".join)
def test_both_are_answered(answers, words):
    code, page, _ = answers[" ".join(words)]
    if words[-1] == "--help":
        assert code == 0 and ("usage:" in page or "score.py captions" in page)
    else:
        assert code.startswith("error: ") and not page


@pytest.mark.parametrize("file, problem", [("script.yaml", "train_z"), ("setting.yaml", "do you mean --references?")])
def test_a_mistake_in_a_file_of_steps_is_one_of_them(answers, file, problem):
    (answer,) = [answer for command, answer in answers.items() if command.endswith(file)]
    code, page, _ = answer
    assert code.startswith("error: ") and "step 2" in code and problem in code and not page


@pytest.mark.slow
def test_the_starter_captions_without_what_training_takes(coloured, tmp_path):
    picture, out = coloured / "Images" / "train00.png", tmp_path / "captions.csv"
    call = {"cwd": tmp_path, "env": os.environ | {"PYTHONPATH": str(SRC)}}
    ended = subprocess.run([sys.executable, "-c", CAPTION, picture, out], capture_output=True, text=True, **call)
    assert ended.returncode == 0, ended.stderr
    assert "train00.png: " in ended.stdout and UNUSED.isdisjoint(ended.stdout.splitlines()[-1].split())
