"""SIGKILL at random instants: what was whole stays whole, and going on gives the same bits as an unbroken run.

    python -m pytest -m slow tests/test_kills.py -s            # 50 instants a command; KILLS=5 for fewer

A command runs in a forked process, so that the instants fall into its work and not into its imports.
"""

import hashlib
import importlib
import json
import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import load_file

KILLS = int(os.environ.get("KILLS", 50))
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")]
RECIPES = (
    "blend",
    "embed",
    "filter_captions",
    "pipeline",
    "predict",
    "train_a",
    "train_b",
    "train_clip",
    "train_knight",
)


@pytest.fixture(scope="module", autouse=True)
def loaded_before_forking():
    for name in RECIPES:
        importlib.import_module(name)


@pytest.fixture(scope="module")
def shared(coloured, tiny_clip, colour_encoder, outputs):
    """Flags of all commands, and two finished members."""
    data = [f"--data={coloured}", f"--target_encoder={colour_encoder}", "--device=cpu"]
    encoder = [f"--encoder={tiny_clip}", "--precision=fp32", "--workers=0"]
    for run, *space in (["kills/one"], ["kills/two", "--space=joint"]):
        assert finish("train_b", [*data, *encoder, f"--run={run}", "--n_neighbors=4", *space]) == 0
    return {"data": data, "encoder": encoder, "coloured": coloured, "outputs": outputs}


def commands(shared, tmp_path) -> dict[str, tuple[str, list[str], list[Path]]]:
    """Script, flags, and what it makes, by name. Everything is made below `kills/` or `tmp_path`."""
    data, encoder, runs = shared["data"], shared["encoder"], shared["outputs"] / "kills"
    training = [*data, *encoder, "--epochs=2", "--batch_size=4", "--save_every=2"]
    knight = [
        *data,
        "--precision=fp32",
        "--workers=0",
        "--layers=1",
        "--width=64",
        "--vocabulary=300",
        "--max_tokens=12",
    ]
    steps = tmp_path / "steps.yaml"
    named = {word.removeprefix("--").partition("=")[0]: word.partition("=")[2] for word in [*data, *encoder]}
    step = {**named, "workers": 0}
    members = {key: step[key] for key in ("data", "target_encoder", "device")}
    steps.write_text(
        yaml.safe_dump(
            [
                {"train_b": {**step, "run": "kills/b1", "n_neighbors": 4}},
                {"train_b": {**step, "run": "kills/b2", "space": "joint", "n_neighbors": 4}},
                {
                    "blend": {
                        **members,
                        "members": ["kills/b1", "kills/b2"],
                        "run": "kills/steps",
                        "folds": 2,
                        "similarity": 0.99,
                    }
                },
            ]
        ),
        encoding="utf-8",
    )
    blended = ["--members", "kills/one", "kills/two", "--folds=2", "--similarity=0.99", "--run=kills/blend"]
    kept = tmp_path / "kept.csv"
    return {
        "train_a": ("train_a", [*training, "--head_epochs=3", "--run=kills/a"], [runs / "a"]),
        "train_clip": ("train_clip", [*training, "--run=kills/clip"], [runs / "clip"]),
        "train_knight": (
            "train_knight",
            [*knight, "--epochs=2", "--batch_size=8", "--save_every=4", "--n_neighbors=3", "--run=kills/knight"],
            [runs / "knight"],
        ),
        "embed": ("embed", [*data, *encoder], [shared["outputs"] / "embeddings"]),
        "predict": (
            "predict",
            [
                f"--images={shared['coloured']}",
                "--run=kills/one",
                f"--out={tmp_path / 'rows'}",
                "--device=cpu",
                "--workers=0",
            ],
            [tmp_path / "rows"],
        ),
        "blend": ("blend", [*data, *blended], [runs / "blend"]),
        "filter_captions": ("filter_captions", [*data, "--threshold=0.9", f"--out={kept}"], [kept]),
        "pipeline": ("pipeline", [str(steps)], [runs / "b1", runs / "b2", runs / "steps"]),
    }


@pytest.mark.parametrize(
    "name", ["train_a", "train_clip", "train_knight", "embed", "predict", "blend", "filter_captions", "pipeline"]
)
def test_kills(shared, tmp_path, name):
    script, argv, made = commands(shared, tmp_path)[name]
    foreign = tmp_path / "foreign.txt"
    foreign.write_text("precious", encoding="utf-8")
    untouched = digests([shared["coloured"], foreign])
    start = time.monotonic()
    remove(made)
    assert finish(script, argv) == 0
    duration, whole = time.monotonic() - start, digests(made)
    assert whole
    draw = np.random.default_rng(0)
    killed = 0
    for _ in range(KILLS):
        remove(made)
        child = start_child(script, argv)
        time.sleep(float(draw.uniform(0, duration)))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        killed += os.WIFSIGNALED(status)
        digests(made)  # every file under a final name can be read
        assert finish(script, [*argv, *going_on(script, argv, made)]) == 0
        assert digests(made) == whole
        assert digests([shared["coloured"], foreign]) == untouched
    print(f"{name}: killed {killed} times of {KILLS} within {duration:.1f} s, each time the same in the end")


def going_on(script: str, argv: list[str], made: list[Path]) -> list[str]:
    """The flag with which a user goes on."""
    if script == "predict" and made[0].exists():
        return ["--overwrite"]
    if not (made[0] / "run.json").is_file() or script == "pipeline":
        return []
    return ["--overwrite"] if script == "blend" else ["--resume"]


def finish(script: str, argv: list[str]) -> int:
    _, status = os.waitpid(start_child(script, argv), 0)
    return os.waitstatus_to_exitcode(status)


def start_child(script: str, argv: list[str]) -> int:
    child = os.fork()
    if child:
        return child
    try:
        with open(os.environ.get("KILLS_LOG", os.devnull), "a", encoding="utf-8") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        importlib.import_module(script).main(argv)
        os._exit(0)
    except SystemExit as error:
        print(error, flush=True)
        os._exit(3)
    except BaseException as error:
        print(repr(error), flush=True)
        os._exit(4)


def remove(made: list[Path]) -> None:
    for path in made:
        for each in [path, *path.parent.glob(f"{path.name}.partial"), *path.parent.glob(f".{path.stem}.*.partial*")]:
            if each.is_dir():
                shutil.rmtree(each)
            else:
                each.unlink(missing_ok=True)


def digests(places: list[Path]) -> dict[str, str]:
    """What each file under a final name says, by its path; without times."""
    files = [file for place in places for file in ([place] if place.is_file() else sorted(place.rglob("*")))]
    final = [file for file in files if file.is_file() and not any(hidden(part) for part in file.parts)]
    return {str(file): hashlib.sha256(content(file)).hexdigest() for file in final}


def hidden(part: str) -> bool:
    return part.startswith(".") or part.endswith(".partial")


def content(file: Path) -> bytes:
    if file.suffix == ".pt":
        return repr(flat(torch.load(file, weights_only=True))).encode()
    if file.suffix == ".safetensors":
        return repr(flat(load_file(file))).encode()
    if file.suffix == ".npy":
        return np.load(file).tobytes()
    if file.suffix == ".parquet":
        return pd.read_parquet(file).to_csv().encode()
    if file.name == "run.json":
        return json.dumps(
            {k: v for k, v in json.loads(file.read_text(encoding="utf-8")).items() if k != "machine"}
        ).encode()
    if file.name == "metrics.jsonl":
        lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
        return json.dumps([{k: v for k, v in line.items() if k != "time"} for line in lines]).encode()
    if file.name == "settings.yaml":
        return b""  # says workers and the like as well
    return file.read_bytes()


def flat(state):
    if isinstance(state, dict):
        return {key: flat(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return [flat(value) for value in state]
    return hashlib.sha256(state.numpy().tobytes()).hexdigest() if isinstance(state, torch.Tensor) else state
