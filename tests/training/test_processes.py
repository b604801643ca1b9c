"""Two processes under torchrun give what one process gives on the same global batches."""

import json
import os
import subprocess
import sys
from pathlib import Path

import train_a
import train_clip
import train_knight
from clipknight.data.datasets import read_dataset
from clipknight.embedding.cache import image_embeddings
from clipknight.embedding.clip import load_clip
from clipknight.embedding.embeddings import Embeddings
from clipknight.training.run_folders import release
from clipknight.training.runs import Run

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from small_training import broken_off

pytestmark = pytest.mark.slow
MAINS = {"train_a": train_a.main, "train_clip": train_clip.main, "train_knight": train_knight.main}
SHARED = {"precision": "fp32", "device": "cpu", "workers": 0, "epochs": 2, "ema": 0.9, "save_every": 1}


@pytest.fixture(scope="module")
def jobs(coloured, tiny_clip, colour_encoder):
    """Flags of each training by its name; 24 images or 120 captions: six steps of eight, or of forty."""
    seen = {"data": coloured, "encoder": tiny_clip, "target_encoder": colour_encoder, **SHARED}
    size = {"layers": 1, "width": 64, "vocabulary": 300, "max_tokens": 12, "n_neighbors": 3, "exclude": "index"}
    text = {"data": coloured, "target_encoder": colour_encoder, **size, **SHARED, "lr_mapper": 1e-4, "lr_decoder": 1e-5}
    named = {
        "train_a": {**seen, "contrastive_weight": 0.5, "dropout": 0, "lr_vision": 1e-4},
        "train_clip": {**seen, "lr_vision": 1e-4, "lr_text": 1e-4},
        "train_knight": text,
    }
    switches = {"train_clip": ["--no_lock_text"]}

    def argv(script, run, rows):
        flags = {**named[script], "run": run, "batch_size": rows}
        return [*(f"--{name}={value}" for name, value in flags.items()), *switches.get(script, [])]

    return argv


@pytest.fixture(scope="module")
def two(jobs, coloured, tiny_clip, tmp_path_factory) -> Path:
    """The outputs of two processes: each training at half the batch a process, one of them killed and resumed."""
    outputs = tmp_path_factory.mktemp("two")
    broken, grown = jobs("train_a", "broken", 4), jobs("train_a", "grown", 4)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("CLIPKNIGHT_OUTPUTS", str(outputs))
        broken_off(train_a.main, grown, 7)  # one process: six steps of four images, and the epoch's end
    release(outputs / "grown")  # as its end would do
    work = [
        ["encode", [str(coloured), str(tiny_clip)], 0],
        ["train_a", jobs("train_a", "a", 4), 0],
        ["train_a", broken, 2],
        ["train_a", [*broken, "--resume"], 0],
        ["train_a", [*grown, "--resume"], 0],
        ["train_a", jobs("train_a", "midway", 4), 2],
        ["train_a", jobs("train_a", "shrunk", 4), 4],  # three steps, and the epoch's end
        ["train_clip", jobs("train_clip", "clip", 4), 0],
        ["train_knight", jobs("train_knight", "knight", 20), 0],
    ]
    here = Path(__file__).parent
    source = here.parents[1] / "src"
    paths = os.pathsep.join(map(str, (source, here.parent)))
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command = [*start, str(here / "in_two_processes.py"), str(outputs), json.dumps(work)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-3000:]
    return outputs


def last_of(run: Run) -> dict:
    return torch.load(run.folder / "last" / "state.pt", weights_only=True)


def without_keys(bias: torch.Tensor) -> torch.Tensor:
    queries, _, values = bias.chunk(3)
    return torch.cat([queries, values])


def assert_near(a: dict, b: dict):
    """But for the bias of attention's keys: its gradient is nothing but rounding, which Adam brings to full size."""
    assert a.keys() == b.keys()
    for name in a:
        one, other = (without_keys(part[name]) if name.endswith("in_proj_bias") else part[name] for part in (a, b))
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("script, rows", [("train_a", 8), ("train_clip", 8), ("train_knight", 40)])
def test_the_weights_are_those_of_one_process_with_the_same_global_batch(jobs, two, script, rows):
    MAINS[script](jobs(script, f"one/{script}", rows))
    one, shared = Run.open(f"one/{script}"), Run(two / script.removeprefix("train_"))
    ours, theirs = last_of(shared), last_of(one)
    assert ours["progress"][:2] == theirs["progress"][:2] == (6, (2, 0))
    assert_near(ours["model"], theirs["model"])
    assert_near(ours["ema"], theirs["ema"])
    for a, b in zip(shared.events(), one.events(), strict=True):
        assert {**a, "time": 0} == pytest.approx({**b, "time": 0}, abs=1e-6)
    for file in (one.folder / "best").rglob("*.safetensors"):
        assert_near(load_file(shared.folder / file.relative_to(one.folder)), load_file(file))
    assert shared.finished and shared.info["summary"] == pytest.approx(one.info["summary"], abs=1e-6)


def test_a_resumed_training_of_two_equals_an_unbroken_one(two):
    unbroken, broken = last_of(Run(two / "a")), last_of(Run(two / "broken"))
    for part in ("model", "ema"):
        assert all(torch.equal(broken[part][name], tensor) for name, tensor in unbroken[part].items())
    events = [[{**event, "time": 0} for event in Run(two / name).events()] for name in ("a", "broken")]
    assert events[0] == events[1]
    predictions = [Embeddings.load(two / name / "predictions" / "test").vectors for name in ("a", "broken")]
    np.testing.assert_array_equal(*predictions)


def test_another_number_of_processes_goes_on_after_a_whole_epoch(jobs, two, monkeypatch):
    monkeypatch.setenv("CLIPKNIGHT_OUTPUTS", str(two))
    with pytest.raises(SystemExit, match="of 2 processes in the middle of an epoch, now there are 1: start 2"):
        train_a.main([*jobs("train_a", "midway", 4), "--resume"])
    train_a.main([*jobs("train_a", "shrunk", 4), "--resume"])
    for name, steps in (("grown", 6), ("shrunk", 12)):
        run = Run(two / name)
        assert run.finished and last_of(run)["progress"][:2] == (steps, (2, 0))
        assert last_of(run)["schedule"]["last_epoch"] == steps and set(last_of(run)["schedule"]["_last_lr"]) == {0.0}
        assert [event["epoch"] for event in run.events()] == [-1, 0, 1]


def test_encoding_is_shared_out_with_every_row_in_its_place(two, coloured, tiny_clip, tmp_path):
    counts = [json.loads((two / f"counts-{rank}.json").read_text(encoding="utf-8")) for rank in (0, 1)]
    assert counts == [[8, 0, 8], [8, 0, 8, 6]]  # killed at the second batch of each, 38 in all, none twice
    dataset = read_dataset(coloured)
    (folder,) = (path.parent for path in (two / "shared" / dataset.name).glob("*/meta.json"))  # a lock stands beside it
    alone = image_embeddings(load_clip(str(tiny_clip), "cpu", "fp32"), dataset, tmp_path, 8, 0)
    shared = Embeddings.load(folder)
    assert shared.ids.tolist() == alone.ids.tolist() and shared.meta == alone.meta
    np.testing.assert_array_equal(shared.vectors, alone.vectors)
