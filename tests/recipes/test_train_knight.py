import shutil
from types import SimpleNamespace

import train_knight
from clipknight.captioning import training as decoder_training
from clipknight.captioning.caption_batches import TokenizedCaptions
from clipknight.captioning.captioner import CaptionOptions
from clipknight.captioning.decoders import load_decoder
from clipknight.captioning.embedding_sources import encoder_space
from clipknight.captioning.knight import load_knight
from clipknight.captioning.prefixes import DirectPrefix
from clipknight.captioning.retriever import Retriever
from clipknight.captioning.training import text_loss
from clipknight.data.datasets import read_dataset
from clipknight.embedding.clip import load_clip
from clipknight.methods.registry import open_captioner
from clipknight.scoring.caption_metrics import caption_scores
from clipknight.training.runs import Run
from train_knight import main

import numpy as np
import pytest
import tiny_models
import torch
from run_folders import Killed, assert_same_training, break_off, files
from safetensors.torch import load_file

BATCHES = 15  # of 8 captions in an epoch
EVERY = 5


def numbers(event):
    return {name: value for name, value in event.items() if name != "time"}


@pytest.fixture(scope="module")
def text_argv(knight_argv):
    """Of text alone, with everything that draws."""

    def words(run, *more):
        return knight_argv(run, "--noise=0.3", "--dropout=0.1", f"--save_every={EVERY}", *more)

    return words


@pytest.fixture(scope="module")
def unbroken(text_argv):
    main(text_argv("unbroken"))
    return Run.open("captioning/unbroken")


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    """30 captions in a file, five of each colour."""
    texts = [caption.format(colour) for colour in tiny_models.COLOURS for caption in tiny_models.CAPTIONS]
    file = tmp_path_factory.mktemp("lines") / "lines.txt"
    file.write_text("\n".join(texts), encoding="utf-8")
    return str(file)


# With images to judge by


def test_what_a_run_leaves(knight_run, colour_encoder, image_run):
    run = Run.open(knight_run)
    outside = [name for name in files(run.folder) if not name.startswith("best/decoder/")]
    assert outside == sorted(
        ["best/knight.json", "best/mapper.safetensors", "last/state.pt"]
        + ["README.md", "metrics.jsonl", "run.json", "settings.yaml"]
    )
    assert run.finished and run.info["space"] == ["target", str(colour_encoder)] and run.kind == "knight"
    assert run.settings["from_"] == image_run
    assert decoder_training.SCORED == ("Bleu", "METEOR", "ROUGE_L", "CIDEr")  # all but METEOR in this run
    scores = {"Bleu_1", "Bleu_2", "Bleu_3", "Bleu_4", "ROUGE_L", "CIDEr", "images"}
    for epoch, event in enumerate(run.events(), -1):  # the start is another run's decoder
        assert set(numbers(event)) == {"epoch", "score", "text_loss"} | scores | ({"loss"} if epoch >= 0 else set())
        assert event["epoch"] == epoch and event["score"] == event["CIDEr"] and event["images"] == 8
    assert len(run.events()) == 3
    assert run.info["summary"] == numbers(max(run.events(), key=lambda event: event["score"]))


def test_the_score_is_that_of_the_kept_epoch(knight_run, coloured):
    run, valid = Run.open(knight_run), read_dataset(coloured).split("valid")
    captioner = open_captioner(run, device="cpu", precision="fp32")
    images = Run.open(run.settings["from_"]).predictions("valid")
    texts = dict(
        zip(images.ids, captioner.caption(images.vectors, CaptionOptions(max_new_tokens=12)).texts, strict=True)
    )
    scores = caption_scores(texts, valid.caption_lists(), ["CIDEr", "ROUGE_L"])
    assert scores["CIDEr"] == pytest.approx(run.info["summary"]["CIDEr"])
    assert scores["ROUGE_L"] == pytest.approx(run.info["summary"]["ROUGE_L"])
    colours = list(tiny_models.COLOURS)
    assert [colours[i % 6] in texts[f"dev{i:02d}"].lower() for i in range(8)] == [True] * 8


def test_the_space_of_a_clip(knight_argv, tiny_clip, monkeypatch):
    monkeypatch.setattr(decoder_training, "SCORED", ("CIDEr",))
    main(knight_argv("clip", f"--space={tiny_clip}", f"--from={tiny_clip}", "--epochs=1", "--num_beams=1"))
    run = Run.open("captioning/clip")
    assert run.info["space"] == encoder_space(load_clip(str(tiny_clip), "cpu")) and run.finished
    assert load_knight(run.folder / "best")[2]["dim"] == 16 and "CIDEr" in run.info["summary"]


# Of text alone


def test_of_text_alone(unbroken):
    first, last = unbroken.events()
    assert set(numbers(first)) == {"epoch", "loss", "score", "text_loss"}
    assert last["loss"] < first["loss"] and last["text_loss"] < first["text_loss"] < np.log(300)
    assert last["score"] == -last["text_loss"] == unbroken.info["summary"]["score"]
    assert load_knight(unbroken.folder / "best")[2]["n_neighbors"] == 3


def test_a_corpus_without_a_dataset(knight_argv, lines, capsys):
    score = main(knight_argv("lines", "--data=", f"--corpus={lines}", "--epochs=3", "--exclude=index"))
    run = Run.open("captioning/lines")
    assert run.settings["corpus"] == [lines] and score == run.info["summary"]["score"]
    assert "lines: 29 captions; decoder of 0.1 million weights" in capsys.readouterr().out  # one tells the loss
    assert len(Retriever.of_run(run, device="cpu").corpus) == 30


def test_a_share_of_a_corpus(knight_argv, capsys):
    main(knight_argv("share", "--corpus_share=0.25", "--epochs=1"))
    assert "coloured: 30 captions" in capsys.readouterr().out
    assert len(Retriever.of_run(Run.open("captioning/share"), device="cpu").corpus) == 30


def test_the_loss_does_not_depend_on_the_batches(unbroken):
    model, tokenizer, _ = load_knight(unbroken.folder / "best")
    retriever = Retriever.of_run(unbroken, device="cpu")
    texts = [*retriever.corpus.texts[:6], "everything here is white and the wall is a painted square"]
    rows = np.arange(21).reshape(7, 3)
    captions = TokenizedCaptions(texts, retriever.vectors, rows, tokenizer, 12)
    losses = [text_loss(model, captions, SimpleNamespace(batch_size=n, precision="fp32")) for n in (1, 4, 7)]
    assert losses == pytest.approx([losses[0]] * 3, abs=1e-5)


def test_without_neighbours(knight_argv):
    main(knight_argv("k0", "--n_neighbors=0", "--epochs=1", "--noise=2"))
    captioner = open_captioner(Run.open("captioning/k0"), device="cpu")
    assert isinstance(captioner.method.prefix, DirectPrefix)
    assert len(captioner.caption(captioner.retriever.vectors[:2], CaptionOptions(1, 4)).texts) == 2


@pytest.mark.slow
def test_the_noise_by_its_variance(knight_argv, monkeypatch):
    """On unit vectors, whatever D: the colour encoder gives 24 numbers."""
    seen = []
    monkeypatch.setattr(train_knight, "train", lambda run, model, *rest: seen.append(model) or {"score": 0.0})
    main(knight_argv("variance", "--n_neighbors=0", "--variance=0.016"))
    main(knight_argv("variance-clms", "--anchors=2", "--concepts=4", "--variance=0.1"))
    assert [model.noise for model in seen] == pytest.approx([(0.016 * 24) ** 0.5, (0.1 * 24) ** 0.5])
    assert [model.noisy for model in seen] == [None, 1]  # of CLMs' vectors the caption's own


@pytest.fixture(scope="module")
def blind_run(knight_argv):
    main(knight_argv("blind", "--blind", "--epochs=6", "--vocabulary=420"))  # a word is one token
    return Run.open("captioning/blind")


def test_blind(blind_run):
    model, _, description = load_knight(blind_run.folder / "best")
    assert description["method"] == "blind" and description["n_neighbors"] == 0
    losses = [event["text_loss"] for event in blind_run.events()]
    assert losses == sorted(losses, reverse=True) and losses[-1] < 1 < np.log(420)
    assert all(event["score"] == -event["text_loss"] for event in blind_run.events())
    biases = [layer.bias for layer in list(model.mapper)[::2]]
    assert all(bias.abs().sum() > 0 for bias in biases)  # what the prefix of no vector is made of


def test_what_captions_with_a_blind_run(blind_run):
    captioner = open_captioner(blind_run, device="cpu", precision="fp32", method="magic", options=["beta=3"])
    assert (type(captioner.method).__name__, captioner.method.beta, captioner.method.k) == ("MAGIC", 3, 45)
    retriever = captioner.retriever
    images = retriever.vectors[[list(retriever.corpus.texts).index(f"a {c} picture") for c in ("red", "blue")]]
    red, blue = captioner.caption(images, CaptionOptions(max_new_tokens=8)).texts
    assert "red" in red.lower() and "blue" in blue.lower()
    for method, message in {
        "auto": "is a language model of captions alone: say how to use it, --method magic, zerocap, etp",
        "knight": "was trained for the method blind: knight needs a run trained for knight",
    }.items():
        with pytest.raises(ValueError, match=message):
            open_captioner(blind_run, device="cpu", method=method)


def test_weights_in_16_bits(knight_argv):
    main(knight_argv("half", "--half", "--epochs=1"))
    best = Run.open("captioning/half").folder / "best"
    for file in best.rglob("*.safetensors"):
        assert {tensor.dtype for tensor in load_file(file).values()} == {torch.float16}


# Decoders


def test_a_frozen_decoder_stays(knight_argv, tmp_path):
    folder = tiny_models.write_language_model(tmp_path / "llama", "llama")
    main(knight_argv("frozen", f"--decoder={folder}", "--freeze_decoder", "--epochs=1"))
    model, _, _ = load_knight(Run.open("captioning/frozen").folder / "best")
    before = load_decoder(str(folder))[0].state_dict()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.decoder.state_dict().items())
    state = torch.load(Run.open("captioning/frozen").folder / "last" / "state.pt", weights_only=True)
    assert state["model"] and all(name.startswith("mapper.") for name in state["model"])


def test_going_on_from_another_run(knight_argv, unbroken):
    still = ["--lr_mapper=0", "--lr_decoder=0", "--epochs=1"]
    main(knight_argv("further", f"--decoder={unbroken.name}", *still))
    for name in ("best/mapper.safetensors", "best/decoder/model.safetensors"):
        ours, theirs = (load_file(run.folder / name) for run in (Run.open("captioning/further"), unbroken))
        assert ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_a_mapper_of_another_space_is_refused(knight_argv, unbroken, tiny_clip):
    with pytest.raises(SystemExit, match="maps vectors of 24 numbers, the corpus has vectors of 16"):
        main(knight_argv("refused", f"--decoder={unbroken.name}", f"--space={tiny_clip}"))


# Going on, and again


# The last save of an epoch's batches is followed by one at its end.
@pytest.mark.parametrize("saves", [3, 4, 5])
def test_a_resumed_run_equals_an_unbroken_one(text_argv, unbroken, monkeypatch, saves):
    words = text_argv(f"broken{saves}")
    break_off(monkeypatch, main, words, saves)
    main([*words, "--resume"])
    assert_same_training(Run.open(f"captioning/broken{saves}"), unbroken)


@pytest.mark.parametrize("killed_in", ["save_knight", "TrainingState.save"])
def test_a_kill_between_an_epochs_log_and_its_weights(text_argv, unbroken, monkeypatch, killed_in):
    words = text_argv(f"killed-{killed_in}", "--save_every=100")

    def kill(*args):
        raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(f"clipknight.captioning.training.{killed_in}", kill)
        main(words)
    assert len(Run.open(f"captioning/killed-{killed_in}").events()) == 1
    main([*words, "--resume"])
    assert_same_training(Run.open(f"captioning/killed-{killed_in}"), unbroken)
    main([*words, "--resume"])
    assert_same_training(Run.open(f"captioning/killed-{killed_in}"), unbroken)


def test_overwriting(text_argv, unbroken):
    before = (unbroken.folder / "metrics.jsonl").read_bytes()
    with pytest.raises(SystemExit, match="exists: pass --resume to go on with it or --overwrite"):
        main(text_argv("unbroken"))
    with pytest.raises(SystemExit, match="started with other settings: lr_decoder 0.003 -> 0.5"):
        main(text_argv("unbroken", "--resume", "--lr_decoder=0.5"))
    assert (unbroken.folder / "metrics.jsonl").read_bytes() == before
    twice = shutil.copytree(unbroken.folder, unbroken.folder.with_name("twice"))
    main(text_argv("twice", "--overwrite", "--epochs=1"))
    assert Run(twice).settings["epochs"] == 1 == len(Run(twice).events())


# Self-critical


@pytest.mark.slow
def test_rewarded_by_the_captions_of_the_same_image(knight_argv, knight_run, image_run, monkeypatch):
    monkeypatch.setattr(decoder_training, "SCORED", ("CIDEr",))
    learning = [f"--decoder={Run.open(knight_run).folder}", "--samples=3", "--lr_decoder=1e-4", "--lr_mapper=1e-4"]
    judging = [f"--from={image_run}", "--num_beams=1", f"--save_every={EVERY}"]
    main(knight_argv("rewarded", *learning, *judging))
    whole = Run.open("captioning/rewarded")
    start, *epochs = whole.events()
    assert start["epoch"] == -1 and len(epochs) == 2 and all("CIDEr" in event for event in whole.events())
    assert all(event["loss"] != 0 for event in epochs)  # some samples were better than others

    words = knight_argv("rewarded_again", *learning, *judging)
    break_off(monkeypatch, main, words, 2)
    main([*words, "--resume"])
    assert_same_training(Run.open("captioning/rewarded_again"), whole)


# Mistakes


@pytest.mark.parametrize(
    "words, message",
    [
        (["--data="], "nothing to learn from: --data DATASET, or --corpus FILE"),
        (["--data=", "--corpus=x.txt", "--from=ensemble"], "--from ensemble: of which images"),
        (["--blind", "--from=ensemble"], "--blind learns captions alone: .* leave out --from"),
        (["--keep=kept.csv"], "unknown flag --keep"),
        (["--noise=0.5", "--variance=0.016"], "--noise 0.5 and --variance 0.016 .* two units of one: give one"),
        (["--variance=-1"], "--variance -1 is not allowed: give a number from 0"),
        (["--samples=1"], "--samples 1 leaves a sample nothing to be compared with: 5, or 0"),
        (["--samples=5"], "--samples makes captions of images better, .*: judge by images, with --from"),
        (["--epochs=0"], "--epochs 0 is not allowed: give a whole number from 1"),
        (["--width=100"], "--width 100 is no multiple of 64"),
        (["--max_tokens=126"], "a prefix of 3 vectors and 126 tokens exceed the decoder's 128 positions"),
        (["--exclude=self"], "--exclude self is not allowed: give one of index, duplicate, image"),
        (["--index=hnsw"], "--index hnsw is not allowed: give one of exact, ivf"),
        (["--corpus_share=0"], "--corpus_share 0 is not allowed: give a number above 0 to 1"),
        (["--corpus=absent.txt"], "corpus 'absent.txt': neither"),
        (["--corpus_share=0.1", "--n_neighbors=8"], "has fewer than 8 neighbours in coloured"),
        (["--from=no-such-run"], "no encoder is called 'no-such-run'"),
    ],
)
def test_a_mistake_ends_before_a_run_is_made(knight_argv, words, message):
    with pytest.raises(SystemExit, match=message):
        main(knight_argv("mistake", *words))
    assert not Run.at("captioning/mistake").folder.exists()


def test_a_batch_larger_than_the_corpus(knight_argv):
    with pytest.raises(SystemExit, match="a batch of 128 does not fit 120 training rows: lower --batch_size"):
        main(knight_argv("large", "--batch_size=128"))


def test_embeddings_of_another_space(knight_argv, tiny_clip, image_run):
    for words in ([f"--from={tiny_clip}"], [f"--from={image_run}", f"--space={tiny_clip}"]):
        with pytest.raises(SystemExit, match="gives embeddings of the space .*, but --space is"):
            main(knight_argv("mistake", *words))
    assert not Run.at("captioning/mistake").folder.exists()


def test_unreadable_images_end_before_a_run_is_made(knight_argv, image_run, coloured, tmp_path, monkeypatch):
    own = shutil.copytree(coloured, tmp_path / "damaged")
    (own / "Images" / "dev01.png").write_bytes(b"no picture")
    monkeypatch.setattr(train_knight, "train", None)
    with pytest.raises(SystemExit, match="1 unreadable images: .*dev01.png"):
        main(knight_argv("mistake", f"--data={own}", f"--from={image_run}"))
    assert not Run.at("captioning/mistake").folder.exists()
