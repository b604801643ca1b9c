"""All that the project does, on the shape of OpenAI's CLIP: a ViT with a text tower of its own, rows of 64 numbers.

The target encoder has rows of 24, so that no space can pass for the other.
"""

from pathlib import Path

import caption
import pipeline
from clipknight.embedding.clip import load_clip
from clipknight.ensemble.submission import read_submission
from clipknight.training.runs import Run

import clip_families
import numpy as np
import pytest
import tiny_models
import yaml

pytestmark = pytest.mark.slow

NAME = "ViT-B-32:openai"
SPLITS = {"train": 40, "dev": 12, "test": 8}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vit")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(tiny_models, "SPLITS", SPLITS)
        tiny_models.write_coloured_dataset(folder / "pictures")
    for kind in ("gpt2", "opt"):
        tiny_models.write_language_model(folder / kind, kind, positions=256)
    return folder


@pytest.fixture(scope="module")
def vit(folder):
    with clip_families.at_hand(NAME, folder, width=64):
        yield NAME


@pytest.fixture(scope="module")
def made(vit, folder, colour_encoder, outputs):
    """Every step from adaptation to submission, and every kind of decoder."""
    hardware = {"device": "cpu", "precision": "fp32", "workers": 0}
    data = {"data": str(folder / "pictures"), "target_encoder": str(colour_encoder), **hardware}
    tuned = {**data, "encoder": vit, "batch_size": 8, "epochs": 1}
    neighbours = {**data, "encoder": vit, "n_neighbors": 4}
    spoken = {**data, "decoder": str(folder / "gpt2"), "batch_size": 16, "epochs": 1, "max_tokens": 12, "num_beams": 1}
    blended = {key: data[key] for key in ("data", "target_encoder", "device")} | {"run": "vit/ensemble"}
    searched = {**spoken, "space": vit}
    maccap = {"queries": 4, "copies": 3, "regions": 3, "new_tokens": 8}
    steps = [
        {"train_clip": {**tuned, "run": "vit/clip"}},
        {"train_clip": {**tuned, "run": "vit/clip_both", "lock_text": False}},
        {"train_a": {**tuned, "run": "vit/a", "head_epochs": 2}},
        {"train_a": {**tuned, "run": "vit/a_48", "encoder": f"{outputs}/vit/a@48", "head": "wide", "head_epochs": 1}},
        {"train_b": {**neighbours, "run": "vit/b"}},
        {"train_b": {**neighbours, "run": "vit/b_joint", "encoder": f"{outputs}/vit/clip_both", "space": "joint"}},
        {"blend": {**blended, "members": ["vit/a", "vit/a_48", "vit/b", "vit/b_joint"], "folds": 2}},
        {"submit": {"run": "vit/ensemble", "device": "cpu", "out": str(folder / "submission.csv")}},
        {"train_knight": {**spoken, "run": "vit/knight", "n_neighbors": 3}},
        {"train_knight": {**spoken, "run": "vit/opt", "n_neighbors": 3, "decoder": str(folder / "opt")}},
        {"train_knight": {**spoken, "run": "vit/direct", "n_neighbors": 0, "variance": 0.016}},
        {"train_knight": {**spoken, "run": "vit/anchors", "anchors": 2, "concepts": 20}},
        {"train_knight": {**searched, "run": "vit/blind", "blind": True}},
        {"train_maccap": {**searched, "run": "vit/maccap", **maccap}},
    ]
    file = folder / "steps.yaml"
    file.write_text(yaml.safe_dump(steps), encoding="utf-8")
    pipeline.main([str(file)])
    return folder


def test_every_run_is_finished_in_its_own_space(made, vit):
    a, larger, joint = (Run.open(f"vit/{run}") for run in ("a", "a_48", "b_joint"))
    assert load_clip(vit, "cpu").encode_captions(["a red picture"]).shape == (1, 64)
    assert a.predictions("valid").vectors.shape == (12, 24) and joint.predictions("test").vectors.shape == (8, 24)
    tower, further = (load_clip(str(run.folder), "cpu", "fp32") for run in (a, larger))
    assert (tower.activation, tower.image_size, further.activation, further.image_size) == (
        ("quick_gelu", 32, "quick_gelu", 48)
    )
    assert not tower.joint and not load_clip(str(Run.open("vit/clip_both").folder), "cpu").locked_text


def test_the_submission_is_the_ensembles(made):
    submission = read_submission(made / "submission.csv")
    expected = Run.open("vit/ensemble").predictions("test").aligned_to(submission.ids)
    np.testing.assert_allclose(submission.vectors, expected.vectors, atol=1e-5)


@pytest.mark.parametrize(
    "method, run, source, options",
    [
        ("knight", "knight", "vit/ensemble", []),
        ("knight", "opt", "vit/ensemble", []),
        ("direct", "direct", "vit/b", []),
        ("decap", "direct", "vit/b_joint", []),
        ("anchors", "anchors", "vit/a", []),
        ("clipre", "knight", "vit/a_48", []),
        ("maccap", "maccap", NAME, []),
        ("magic", "blind", NAME, []),
        ("zerocap", "blind", NAME, ["steps=1"]),
        ("etp", "blind", NAME, ["iterations=2"]),
    ],
)
def test_it_is_captioned_in_every_way(made, method, run, source, options):
    words = ["--options", *options] if options else []
    where = [f"--data={made / 'pictures'}", "--split=test", "--limit=2", f"--from={source}", "--html=none"]
    how_long = ["--max_tokens=6", "--num_beams=1", "--device=cpu", "--precision=fp32", "--workers=0"]
    out = made / f"{method}-{run}.csv"
    table = caption.main([f"--run=vit/{run}", f"--method={method}", *words, *where, *how_long, f"--out={out}"])
    assert [Path(image).stem for image in table["image"]] == ["test00", "test01"]
