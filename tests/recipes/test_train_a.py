import json

from clipknight.embedding.captioned_dataset import CaptionedDataset
from clipknight.embedding.clip import load_clip
from clipknight.embedding.embeddings import Embeddings
from clipknight.ensemble.predictors import load_predictor
from clipknight.training.runs import Run
from train_a import main

import numpy as np
import pytest
import torch
from run_folders import assert_same_training, break_off, files
from safetensors.torch import load_file

EPOCHS, BATCHES = 2, 3


@pytest.fixture(scope="module")
def argv(coloured, tiny_clip, tiny_target_encoder):
    def words(run, *more):
        named = {"data": coloured, "encoder": tiny_clip, "target_encoder": tiny_target_encoder, "run": f"a/{run}"}
        options = {"epochs": EPOCHS, "batch_size": 8, "precision": "fp32", "device": "cpu", "workers": 0}
        flags = [f"--{name}={value}" for name, value in {**named, **options, "save_every": 1}.items()]
        return [*flags, *more]

    return words


@pytest.fixture(scope="module")
def data(coloured, tiny_target_encoder):
    return CaptionedDataset.read(coloured, str(tiny_target_encoder), "cpu")


@pytest.fixture(scope="module")
def unbroken(argv):
    main(argv("unbroken"))
    return Run.open("a/unbroken")


def test_what_a_run_leaves(unbroken, data):
    embeddings = ["ids.parquet", "meta.json", "vectors.npy"]
    assert files(unbroken.folder) == sorted(
        ["best/encoder.json", "best/encoder.safetensors", "best/head.json", "best/head.safetensors", "last/state.pt"]
        + ["README.md", "metrics.jsonl", "run.json", "settings.yaml"]
        + [f"predictions/{split}/{name}" for split in ("valid", "test") for name in embeddings]
    )
    assert unbroken.finished and unbroken.settings["epochs"] == EPOCHS
    assert unbroken.info["summary"]["valid_images"] == 8 and unbroken.info["summary"]["valid_pairs"] == 40
    assert unbroken.info["summary"]["train_images"] == 24 and unbroken.info["summary"]["train_captions"] == 120
    assert [(e["epoch"], e["stage"]) for e in unbroken.events()] == [(-1, "head"), (0, "fine-tune"), (1, "fine-tune")]
    for split in ("valid", "test"):
        predictions = unbroken.predictions(split)
        assert predictions.ids.tolist() == data.dataset.split(split).ids.tolist()
        np.testing.assert_allclose(np.linalg.norm(predictions.vectors, axis=1), 1, atol=1e-6)
        assert predictions.dim == 24


def test_the_score_is_that_of_the_saved_predictions(unbroken, data):
    score = data.split("valid").avg_cos(unbroken.predictions("valid"))
    assert unbroken.info["summary"]["avg_cos"] == pytest.approx(score)
    assert score == pytest.approx(max(e["avg_cos"] for e in unbroken.events()), abs=1e-6)


def test_the_run_predicts_in_the_precision_it_was_scored_in(unbroken, data):
    again = load_predictor(unbroken, "cpu").predict(data.dataset.split("valid"), workers=0)
    np.testing.assert_array_equal(again.vectors, unbroken.predictions("valid").vectors)
    assert again.meta == {"run": "a/unbroken"}


def test_the_tower_is_an_encoder_for_others(unbroken, tiny_clip):
    tuned = load_clip(str(unbroken.folder), "cpu", "fp32")
    assert not tuned.joint and tuned.fingerprint("visual") != load_clip(str(tiny_clip), "cpu", "fp32").fingerprint(
        "visual"
    )


# The second save of the third batch is at the end of the epoch.
@pytest.mark.parametrize("saves", [1, BATCHES, BATCHES + 1, BATCHES + 2, 2 * BATCHES + 1])
def test_a_resumed_run_equals_an_unbroken_one(argv, unbroken, monkeypatch, saves):
    words = argv(f"broken{saves}")
    break_off(monkeypatch, main, words, saves)
    main([*words, "--resume"])
    assert_same_training(Run.open(f"a/broken{saves}"), unbroken)


def test_resuming_before_the_first_save_and_after_the_end(argv, unbroken, monkeypatch):
    words = argv("early")
    break_off(monkeypatch, main, words, 1, before=True)
    main([*words, "--resume"])
    assert_same_training(Run.open("a/early"), unbroken)
    main([*words, "--resume"])
    assert_same_training(Run.open("a/early"), unbroken)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("drawn", ["--captions=one", "--accumulate=2", "--ema=0", "--rotation=10", "--seed=4", "--features=auto"]),
        ("wide", ["--head=wide"]),  # its running statistics are learnt by the first stage
    ],
)
def test_other_variants_resume_too(argv, monkeypatch, name, options):
    main(argv(name, *options))
    words = argv(f"{name}-broken", *options)
    break_off(monkeypatch, main, words, 4)
    main([*words, "--resume"])
    assert_same_training(Run.open(f"a/{name}-broken"), Run.open(f"a/{name}"))


def test_overwriting_is_refused(argv, unbroken):
    before = (unbroken.folder / "metrics.jsonl").read_bytes()
    with pytest.raises(SystemExit, match="exists: pass --resume to go on with it or --overwrite"):
        main(argv("unbroken"))
    assert (unbroken.folder / "metrics.jsonl").read_bytes() == before


def test_resuming_with_other_settings_is_refused(argv, unbroken):
    with pytest.raises(SystemExit, match="started with other settings: lr_fc 0.001 -> 0.5"):
        main(argv("unbroken", "--resume", "--lr_fc=0.5"))


def test_the_seed_decides(argv, unbroken):
    main(argv("seed", "--seed=1", "--epochs=0"))
    head = load_file(Run.open("a/seed").folder / "best" / "head.safetensors")
    assert not torch.equal(head["fc1.weight"], load_file(unbroken.folder / "best" / "head.safetensors")["fc1.weight"])


def test_a_linear_head_on_a_frozen_tower(argv, data, tiny_clip):
    main(argv("linear", "--head=linear", "--epochs=0"))
    run = Run.open("a/linear")
    assert not (run.folder / "last").exists() and [e["epoch"] for e in run.events()] == [-1]
    assert set(load_file(run.folder / "best" / "head.safetensors")) == {"fc.weight", "fc.bias"}
    assert json.loads((run.folder / "best" / "head.json").read_text(encoding="utf-8"))["head"] == "linear"
    tower, root = load_clip(str(run.folder), "cpu", "fp32"), load_clip(str(tiny_clip), "cpu", "fp32")
    assert tower.fingerprint("visual") == root.fingerprint("visual")
    assert data.split("valid").avg_cos(run.predictions("valid")) == pytest.approx(run.info["summary"]["avg_cos"])


def test_it_learns(argv, data):
    """Far above the best constant prediction, and the loss falls."""
    options = [
        "--head_epochs=60",
        "--epochs=5",
        "--contrastive_weight=0",
        "--dropout=0",
        "--lr_vision=1e-3",
        "--crop=1",
    ]
    score = main(argv("learning", *options, "--save_every=100", "--lr_fc=5e-3"))
    train, valid = data.split("train"), data.split("valid")
    mean = np.tile(np.asarray(train.targets.vectors).mean(0), (8, 1))
    constant = valid.avg_cos(Embeddings(valid.dataset.ids, mean))
    possible = valid.avg_cos(Embeddings(valid.dataset.ids, valid.mean_targets()))
    assert score > constant + 0.6 * (possible - constant)
    losses = [e["loss"] for e in Run.open("a/learning").events() if e["stage"] == "fine-tune"]
    assert losses[-1] < losses[0]


@pytest.mark.slow
def test_pooled_features_of_a_timm_tower(argv, coloured, tiny_target_encoder, data):
    score = main(argv("pooled", "--encoder=lite2-minilm@64", "--epochs=1", "--save_every=100", "--batch_size=12"))
    run = Run.open("a/pooled")
    assert load_file(run.folder / "best" / "head.safetensors")["fc1.weight"].shape == (24, 1280)
    tower = load_clip(str(run.folder), "cpu", "fp32")
    assert not tower.projected and tower.image_size == 64
    assert score == pytest.approx(max(e["avg_cos"] for e in run.events()), abs=1e-5)


@pytest.mark.parametrize("words, said", [(["--head=hce"], "che"), (["--captions=some"], "one")])
def test_a_choice_that_does_not_exist_is_refused_with_those_that_do(argv, capsys, words, said):
    with pytest.raises(SystemExit) as error:
        main(argv("typo", *words))
    assert said in f"{error.value} {capsys.readouterr().err}"


def test_mistakes_end_with_one_line(argv):
    with pytest.raises(SystemExit, match="error: .*nowhere does not exist"):
        main(argv("nowhere", "--data=nowhere"))
    with pytest.raises(SystemExit, match="error: no encoder is called 'ViT-B-33:openai'"):
        main(argv("unknown", "--encoder=ViT-B-33:openai"))
    with pytest.raises(SystemExit, match="--epochs 0 and --head_epochs 0 leave nothing to train"):
        main(argv("nothing", "--epochs=0", "--head_epochs=0"))
    with pytest.raises(SystemExit, match="batch of 64 does not fit 24 training rows"):
        main(argv("batch", "--batch_size=64"))
