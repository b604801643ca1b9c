from clipknight.data.images import read_image
from clipknight.embedding.captioned_dataset import CaptionedDataset
from clipknight.embedding.clip import load_clip
from clipknight.training.runs import Run
from train_clip import main

import numpy as np
import pytest
from run_folders import assert_same_training, break_off, files

EPOCHS, BATCHES = 2, 3


@pytest.fixture(scope="module")
def argv(coloured, tiny_clip):
    def words(run, *more):
        named = {"data": coloured, "encoder": tiny_clip, "run": f"clip/{run}", "epochs": EPOCHS, "batch_size": 8}
        options = {"precision": "fp32", "device": "cpu", "workers": 0, "save_every": 1, "lr_text": 1e-3}
        return [*(f"--{name}={value}" for name, value in {**named, **options}.items()), *more]

    return words


@pytest.fixture(scope="module")
def unbroken(argv):
    main(argv("unbroken"))
    return Run.open("clip/unbroken")


def towers(name):
    encoder = load_clip(str(name), "cpu", "fp32")
    return encoder.model.state_dict()


def moved(before, after):
    """Names of the tensors that training changed, without the logit scale."""
    return {name for name in before if not before[name].equal(after[name])} - {"logit_scale"}


def test_what_a_run_leaves(unbroken):
    assert files(unbroken.folder) == sorted(
        ["best/encoder.json", "best/encoder.safetensors", "last/state.pt"]
        + ["README.md", "metrics.jsonl", "run.json", "settings.yaml"]
    )
    assert unbroken.finished


def test_recall_is_logged_both_ways(unbroken):
    names = [f"{way}_r{k}" for way in ("image_to_text", "text_to_image") for k in (1, 5, 10)]
    events = unbroken.events()
    assert [event["epoch"] for event in events] == [-1, 0, 1]
    assert "loss" not in events[0] and events[1]["loss"] > 0 and events[2]["loss"] > 0
    for event in events:
        assert event["mean_recall"] == pytest.approx(np.mean([event[name] for name in names]))
        assert event["text_to_image_r10"] == 1  # ten of eight images
    best = max(events, key=lambda event: event["mean_recall"])
    assert unbroken.info["summary"] == {name: best[name] for name in (*names, "mean_recall")}


def test_the_run_is_an_encoder_whose_text_tower_has_not_moved(unbroken, tiny_clip):
    adapted = load_clip(str(unbroken.folder), "cpu", "fp32")
    assert adapted.joint and adapted.projected and adapted.locked_text and adapted.root == str(tiny_clip)
    changed = moved(towers(tiny_clip), towers(unbroken.folder))
    assert {"visual.proj", "visual.transformer.resblocks.1.mlp.c_fc.weight"} <= changed
    assert all(name.startswith("visual.") for name in changed)


def test_both_towers_are_trained_when_asked_for(argv, tiny_clip):
    main(argv("both", "--no_lock_text"))
    changed = moved(towers(tiny_clip), towers(Run.open("clip/both").folder))
    assert {"visual.proj", "text_projection", "transformer.resblocks.0.mlp.c_fc.weight"} <= changed
    assert not load_clip(str(Run.open("clip/both").folder), "cpu", "fp32").locked_text


def test_a_text_tower_once_trained_is_kept_by_the_next_adaptation(argv, tiny_clip):
    main(argv("first", "--no_lock_text", "--epochs=1"))
    first = Run.open("clip/first").folder
    main(argv("second", f"--encoder={first}", "--epochs=1"))
    second = towers(Run.open("clip/second").folder)
    assert all(name.startswith("visual.") for name in moved(towers(first), second))
    assert "text_projection" in moved(towers(tiny_clip), second)


@pytest.mark.parametrize("saves", [1, BATCHES, BATCHES + 2])
def test_a_resumed_run_equals_an_unbroken_one(argv, unbroken, monkeypatch, saves):
    words = argv(f"broken{saves}")
    break_off(monkeypatch, main, words, saves)
    main([*words, "--resume"])
    assert_same_training(Run.open(f"clip/broken{saves}"), unbroken)


@pytest.mark.slow
def test_with_both_towers_it_resumes_too(argv, monkeypatch):
    words = argv("both-broken", "--no_lock_text")
    break_off(monkeypatch, main, words, 2)
    main([*words, "--resume"])
    main(argv("both-unbroken", "--no_lock_text"))
    assert_same_training(Run.open("clip/both-broken"), Run.open("clip/both-unbroken"))


LITE = ["--encoder=lite2-minilm@64", "--batch_size=12", "--epochs=1", "--save_every=1", "--lr_projection=3e-3"]


@pytest.fixture(scope="module")
def lite(argv):
    main(argv("lite", *LITE))
    return Run.open("clip/lite")


@pytest.mark.slow
def test_an_untrained_projection_is_trained_first(lite, coloured):
    events = lite.events()
    assert [event["epoch"] for event in events] == [-1, 0]
    adapted = load_clip(str(lite.folder), "cpu", "fp32")
    assert adapted.joint and adapted.projected and adapted.captions_are_targets and adapted.image_size == 64
    valid = CaptionedDataset.read(coloured, device="cpu").split("valid")
    pixels = [adapted.preprocess(image) for image in pictures(valid)]
    similarity = np.concatenate([adapted.encode_pixels(p[None]) for p in pixels]) @ valid.targets.vectors.T
    own = valid.image_of_caption == np.arange(8)[:, None]
    assert similarity[own].mean() > similarity[~own].mean() + 0.02
    assert events[0]["image_to_text_r5"] > 0.7
    assert lite.info["summary"]["mean_recall"] == max(event["mean_recall"] for event in events)


def test_what_is_kept_is_what_scored_best(argv):
    """Ruinous fine-tuning leaves the projection's encoder in best/."""
    main(argv("ruined", *LITE, "--lr_vision=3", "--layer_decay=1", "--ema=0", "--warmup=0"))
    run = Run.open("clip/ruined")
    first, second = run.events()
    assert second["mean_recall"] < first["mean_recall"] == run.info["summary"]["mean_recall"]
    kept, root = towers(run.folder), load_clip("lite2-minilm@64", "cpu", "fp32").model.state_dict()
    assert kept["visual.trunk.conv_head.weight"].equal(root["visual.trunk.conv_head.weight"])


def test_a_fine_tuning_that_harms_leaves_the_encoder_it_started_from(argv, colour_clip):
    """It has a joint space, in which it finds all there is to find."""
    ruinous = ["--lr_vision=1", "--layer_decay=1", "--ema=0", "--warmup=0", "--epochs=1"]
    main(argv("harmed", f"--encoder={colour_clip}", *ruinous))
    run = Run.open("clip/harmed")
    start, after = run.events()
    assert start["epoch"] == -1 and after["mean_recall"] < start["mean_recall"] == run.info["summary"]["mean_recall"]
    assert not moved(towers(colour_clip), towers(run.folder))


def test_the_rates_of_the_kind_of_tower_are_kept_with_the_run(unbroken, lite):
    assert unbroken.settings["lr_vision"] == 1e-5 and unbroken.settings["layer_decay"] == 0.7
    assert lite.settings["lr_vision"] == 4e-4 and lite.settings["layer_decay"] == 0.9


def pictures(data):
    return [read_image(path) for path in data.dataset.images["path"]]


@pytest.mark.slow
@pytest.mark.parametrize("saves", [1, 3])
def test_resuming_after_the_projection_equals_an_unbroken_run(argv, lite, monkeypatch, saves):
    words = argv(f"lite-broken{saves}", *LITE)
    break_off(monkeypatch, main, words, saves)
    main([*words, "--resume"])
    assert_same_training(Run.open(f"clip/lite-broken{saves}"), lite)


def test_nothing_left_to_train_is_refused(argv):
    with pytest.raises(SystemExit, match="has a trained projection: with --epochs 0 nothing is left to train"):
        main(argv("nothing", "--epochs=0"))


def test_overwriting_is_refused(argv, unbroken):
    with pytest.raises(SystemExit, match="exists: pass --resume to go on with it or --overwrite"):
        main(argv("unbroken"))
