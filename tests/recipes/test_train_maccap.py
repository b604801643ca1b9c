import json
import shutil

import train_maccap
from clipknight.captioning import training as decoder_training
from clipknight.captioning.captioner import CaptionOptions
from clipknight.captioning.embedding_sources import encoder_space, open_source
from clipknight.captioning.knight import load_knight
from clipknight.data.datasets import read_dataset
from clipknight.embedding.clip import load_clip
from clipknight.methods.registry import open_captioner
from clipknight.scoring.caption_metrics import caption_scores
from clipknight.training.runs import Run
from train_maccap import main

import numpy as np
import pytest
import tiny_models
import torch
from run_folders import assert_same_training, break_off, files
from safetensors.torch import load_file

EVERY = 5


def numbers(event):
    return {name: value for name, value in event.items() if name != "time"}


@pytest.fixture(scope="module")
def text_argv(maccap_argv):
    """Of text alone, with everything that draws."""

    def words(run, *more):
        return maccap_argv(run, "--dropout=0.1", f"--save_every={EVERY}", "--lr_mapper=1e-4", *more)

    return words


@pytest.fixture(scope="module")
def unbroken(text_argv):
    main(text_argv("maccap-unbroken"))
    return Run.open("captioning/maccap-unbroken")


# With images to judge by


def test_what_a_run_leaves(maccap_run, colour_clip):
    run = Run.open(maccap_run)
    outside = [name for name in files(run.folder) if not name.startswith("best/decoder/")]
    assert outside == sorted(
        ["best/knight.json", "best/mapper.safetensors", "last/state.pt"]
        + ["README.md", "metrics.jsonl", "run.json", "settings.yaml"]
    )
    space = encoder_space(load_clip(str(colour_clip), "cpu"))
    options = {"regions": 3, "weight": 1.0, "noise": 0.001, "copies": 3}
    assert json.loads((run.folder / "best" / "knight.json").read_text(encoding="utf-8")) == {
        "dim": 16,
        "queries": 4,
        "method": "maccap",
        "n_neighbors": 0,
        "space": space,
        "options": options,
    }
    assert run.finished and run.info["space"] == space and run.settings["from_"] == str(colour_clip)
    assert decoder_training.SCORED == ("Bleu", "METEOR", "ROUGE_L", "CIDEr")
    for epoch, event in enumerate(run.events(), -1):  # the start is another run's
        assert event["epoch"] == epoch and event["score"] == event["CIDEr"] and event["images"] == 8
    assert run.info["summary"] == numbers(max(run.events(), key=lambda event: event["score"]))


def test_the_score_is_that_of_the_kept_epoch(maccap_run, coloured, monkeypatch):
    run, valid = Run.open(maccap_run), read_dataset(coloured).split("valid")
    captioner, source = open_captioner(run, device="cpu", precision="fp32"), open_source(run.settings["from_"], "cpu")
    monkeypatch.setattr("clipknight.embedding.subregions.subregion_features", None)  # they were kept
    images = source.embeddings(valid, workers=0, regions=3)
    assert images.vectors.shape == (8, 16) and images.regions.shape == (8, 3, 16)
    texts = captioner.captions_by_id(images, CaptionOptions(4, 12))
    scores = caption_scores(texts, valid.caption_lists(), ["CIDEr"])
    assert scores["CIDEr"] == pytest.approx(run.info["summary"]["CIDEr"])
    colours = list(tiny_models.COLOURS)
    assert [colours[i % 6] in texts[f"dev{i:02d}"].lower() for i in range(8)] == [True] * 8


def test_judged_by_a_run_that_knows_no_regions(maccap_argv, image_run, monkeypatch):
    monkeypatch.setattr(decoder_training, "SCORED", ("CIDEr",))
    main(maccap_argv("maccap-target", "--space=target", f"--from={image_run}", "--epochs=1", "--rerank=2"))
    run = Run.open("captioning/maccap-target")
    captioner = open_captioner(run, device="cpu", precision="fp32")
    images = Run.open(image_run).predictions("valid")
    texts = captioner.caption(images.vectors, CaptionOptions(4, 12, 2, "embedding")).texts
    references = read_dataset(run.settings["data"]).split("valid").caption_lists()
    scores = caption_scores(dict(zip(images.ids, texts, strict=True)), references, ["CIDEr"])
    assert scores["CIDEr"] == pytest.approx(run.info["summary"]["CIDEr"])


# Of text alone


def test_of_text_alone(unbroken):
    first, last = unbroken.events()
    assert set(numbers(first)) == {"epoch", "loss", "score", "text_loss"}
    assert last["loss"] < first["loss"] and last["text_loss"] < first["text_loss"] < np.log(300)
    assert last["score"] == -last["text_loss"]


def given(monkeypatch, argv):
    """What training gives the model: its noise, the vectors of a caption and those of a held-out one."""
    seen = {}

    def look(run, model, tokenizer, objective, held_captions, description, s, valid, say):
        seen.update(noise=model.noise, options=description["options"])
        seen.update(vectors=objective.captions[0, 3][0], held=held_captions[0, 3][0])
        return {"score": 0.0}

    monkeypatch.setattr(train_maccap, "train", look)
    main(argv)
    return seen


@pytest.mark.parametrize("variance", [0.016, 0.1, 0.0])
def test_the_noise_of_training(maccap_argv, monkeypatch, variance):
    seen = given(monkeypatch, maccap_argv(f"maccap-noise{variance}", f"--variance={variance}", "--image_variance=0.2"))
    assert seen["noise"] == pytest.approx((variance * 16) ** 0.5) and seen["options"]["noise"] == 0.2
    vectors, held = seen["vectors"], seen["held"]
    assert vectors.shape == held.shape == (3, 16)
    np.testing.assert_array_equal(vectors, vectors[:1].repeat(3, axis=0))  # the model adds its own at each step
    np.testing.assert_allclose(np.linalg.norm(held, axis=1), 1, atol=1e-5)
    assert (np.abs(held - held[0]).max() > 0.05) == (variance > 0)


def test_the_noise_of_the_model_is_of_that_variance(unbroken):
    """On unit vectors, which are taken to one length again."""
    model, _, _ = load_knight(unbroken.folder / "best")
    model.noise, model.mapper = (0.016 * 16) ** 0.5, torch.nn.Identity()
    vectors = torch.nn.functional.normalize(torch.randn(4, 1, 16), dim=-1).expand(-1, 3, -1)
    torch.manual_seed(5)
    given = model.train().prefix(vectors) / 4
    torch.manual_seed(5)
    noisy = vectors + 0.016**0.5 * torch.randn(4, 3, 16)  # each copy has its own
    torch.testing.assert_close(given, noisy / noisy.norm(dim=-1, keepdim=True))


# Decoders


def test_going_on_from_another_run(maccap_argv, unbroken, knight_run, capsys):
    still = ["--lr_mapper=0", "--lr_decoder=0", "--epochs=1"]
    main(maccap_argv("maccap-further", f"--decoder={unbroken.name}", *still))
    assert "of another kind" not in capsys.readouterr().out
    for name in ("best/mapper.safetensors", "best/decoder/model.safetensors"):
        ours, theirs = (load_file(run.folder / name) for run in (Run.open("captioning/maccap-further"), unbroken))
        assert ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)
    main(maccap_argv("maccap-knights", f"--decoder={knight_run}", *still))
    assert f"{knight_run}: its decoder is taken, its mapper is of another kind" in capsys.readouterr().out
    ours, theirs = (
        Run.open(name).folder / "best/decoder/model.safetensors" for name in ("captioning/maccap-knights", knight_run)
    )
    assert all(torch.equal(tensor, load_file(theirs)[key]) for key, tensor in load_file(ours).items())


def test_a_knight_that_goes_on_from_a_maccap(knight_argv, unbroken, capsys):
    import train_knight

    train_knight.main(knight_argv("from-maccap", f"--decoder={unbroken.name}", "--epochs=1"))
    assert "its decoder is taken, its mapper is of another kind" in capsys.readouterr().out
    assert load_knight(Run.open("captioning/from-maccap").folder / "best")[2]["dim"] == 24


def test_a_frozen_decoder_of_the_hubs_kind(maccap_argv, tmp_path):
    folder = tiny_models.write_language_model(tmp_path / "llama", "llama")
    main(maccap_argv("maccap-frozen", f"--decoder={folder}", "--freeze_decoder", "--epochs=1", "--half"))
    best = Run.open("captioning/maccap-frozen").folder
    state = torch.load(best / "last" / "state.pt", weights_only=True)
    assert state["model"] and all(name.startswith("mapper.") for name in state["model"])
    assert {tensor.dtype for tensor in load_file(best / "best" / "mapper.safetensors").values()} == {torch.float16}
    assert load_knight(best / "best")[0].mapper.queries.dtype == torch.float32


# Going on


def test_a_resumed_run_equals_an_unbroken_one(text_argv, unbroken, monkeypatch):
    """Broken off in its second epoch; where else, test_train_knight.py tries on the same loop."""
    words = text_argv("maccap-broken")
    break_off(monkeypatch, main, words, 5)
    main([*words, "--resume"])
    assert_same_training(Run.open("captioning/maccap-broken"), unbroken)


# Mistakes


@pytest.mark.parametrize(
    "words, message",
    [
        (["--data="], "nothing to learn from: --data DATASET, or --corpus FILE"),
        (["--keep=kept.csv"], "unknown flag --keep"),
        (["--queries=0"], "--queries 0 is not allowed: give a whole number from 1"),
        (["--copies=0"], "--copies 0 is not allowed: give a whole number from 1"),
        (["--variance=-1"], "--variance -1 is not allowed: give a "),
        (["--regions=-1"], "--regions -1 is not allowed: give a "),
        (["--rerank=0"], "--rerank 0 is not allowed: give a whole number from 1"),
        (["--queries=117"], "a prefix of 117 vectors and 12 tokens exceed the decoder's 128 positions"),
        (["--from=no-such-run"], "no encoder is called 'no-such-run'"),
    ],
)
def test_a_mistake_ends_before_a_run_is_made(maccap_argv, words, message):
    with pytest.raises(SystemExit, match=message):
        main(maccap_argv("mistake", *words))
    assert not Run.at("captioning/mistake").folder.exists()


def test_images_of_which_no_regions_can_be_taken(maccap_argv, colour_clip, tiny_clip, image_run):
    with pytest.raises(SystemExit, match="sees 2 x 2 cells, of which 5 regions cannot be taken"):
        main(maccap_argv("mistake", f"--from={colour_clip}", "--regions=5"))
    for name in (tiny_clip, image_run):
        with pytest.raises(SystemExit, match="gives embeddings of the space .*, but --space is"):
            main(maccap_argv("mistake", f"--from={name}"))
    assert not Run.at("captioning/mistake").folder.exists()


def test_unreadable_images_end_before_a_run_is_made(maccap_argv, colour_clip, coloured, tmp_path):
    own = shutil.copytree(coloured, tmp_path / "damaged")
    (own / "Images" / "dev01.png").write_bytes(b"no picture")
    with pytest.raises(SystemExit, match="1 unreadable images: .*dev01.png"):
        main(maccap_argv("mistake", f"--data={own}", f"--from={colour_clip}"))
    assert not Run.at("captioning/mistake").folder.exists()
