"""--skip_unreadable: one switch with which every script goes on without images that are missing or broken."""

import shutil

import blend
import embed
import filter_captions
import submit
import train_a
import train_b
import train_clip
import train_knight
from clipknight.training.runs import Run

import pytest

BROKEN = ("train03", "dev01", "test02")
SKIP = "--skip_unreadable"


@pytest.fixture(scope="module")
def damaged(coloured, tmp_path_factory):
    """The pictures of each split but one, which is cut off, and a training picture that is not there."""
    folder = shutil.copytree(coloured, tmp_path_factory.mktemp("skipping") / "damaged")
    for name in BROKEN:
        file = folder / "Images" / f"{name}.png"
        file.write_bytes(file.read_bytes()[:100])
    (folder / "Images" / "train05.png").unlink()
    return folder


@pytest.fixture(scope="module")
def argv(damaged, tiny_clip, colour_encoder):
    """Flags by script, of a run in outputs/skipping."""
    data = [f"--data={damaged}", f"--target_encoder={colour_encoder}", "--device=cpu"]
    encoder = [*data, f"--encoder={tiny_clip}", "--precision=fp32", "--workers=0"]

    def words(script, run="", *more):
        own = {
            "train_a": [*encoder, "--epochs=1", "--head_epochs=1", "--batch_size=4"],
            "train_b": [*encoder, "--n_neighbors=4"],
            "train_clip": [*encoder, "--epochs=1", "--batch_size=4"],
            "embed": encoder,
            "blend": [*data, "--folds=2", "--similarity=0.99", "--members", "skipping/a", "skipping/b"],
        }[script]
        return [*own, *([f"--run=skipping/{run}"] if run else []), *more]

    return words


@pytest.fixture(scope="module")
def members(argv):
    train_a.main(argv("train_a", "a", SKIP))
    train_b.main(argv("train_b", "b", SKIP))
    return [Run.open(f"skipping/{name}") for name in "ab"]


def test_training_and_predicting_go_on_without_them(members, outputs):
    for run in members:
        ids = {split: set(run.predictions(split).ids) for split in ("valid", "test")}
        assert [len(ids["valid"]), len(ids["test"])] == [7, 5] and not (ids["valid"] | ids["test"]) & set(BROKEN)
        assert run.info["summary"]["train_images"] == 22
    listed = (outputs / "left_out" / "damaged-unreadable.csv").read_text(encoding="utf-8")
    assert [name for name in BROKEN if f"{name}.png,image file is truncated" in listed] == list(BROKEN)
    assert "train05.png" in (outputs / "left_out" / "damaged-Images-missing.csv").read_text(encoding="utf-8")


def test_what_was_left_out_of_the_members_is_left_out_of_their_blend(argv, members, tmp_path):
    for name, words in (("asked", [SKIP]), ("ensemble", [])):
        blend.main(argv("blend", name, *words))
        run = Run.open(f"skipping/{name}")
        assert run.info["summary"]["valid_images"] == 7 and len(run.predictions("test")) == 5
    submit.main(["--run=skipping/ensemble", "--device=cpu", f"--out={tmp_path / 's.csv'}"])
    assert (tmp_path / "s.csv").read_text(encoding="utf-8").count("\n") == 1 + 5 * 24


def test_one_that_a_training_would_meet_in_mid_way_is_named_before(argv, members, damaged, outputs):
    shutil.copy(damaged / "Images" / "train06.png", damaged / "Images" / "train05.png")
    try:
        for script, main in (("train_clip", train_clip.main), ("embed", embed.main)):
            with pytest.raises(SystemExit, match="1 unreadable images: .*train03.png: .*pass --skip_unreadable to go"):
                main(argv(script, "clip" if script == "train_clip" else ""))
        assert not (outputs / "skipping" / "clip").exists()
    finally:
        (damaged / "Images" / "train05.png").unlink()
    train_clip.main(argv("train_clip", "clip", SKIP))
    embed.main(argv("embed", "", SKIP))


def test_a_run_does_not_go_on_with_other_images(argv, members, damaged, coloured):
    train_a.main(argv("train_a", "again", SKIP))
    shutil.copy(coloured / "Images" / "train05.png", damaged / "Images")
    with pytest.raises(SystemExit, match="has learnt from 22 training rows, and there are 23 now: have the same"):
        train_a.main(argv("train_a", "again", SKIP, "--resume"))
    (damaged / "Images" / "train05.png").unlink()
    train_a.main(argv("train_a", "again", SKIP, "--resume"))


def test_text_alone_asks_for_no_image(damaged, knight_argv, members, tmp_path, capsys):
    with pytest.raises(SystemExit, match="--skip_unreadable is of the images that --from embeds"):
        train_knight.main(knight_argv("text", f"--data={damaged}", SKIP))
    train_knight.main(knight_argv("text", f"--data={damaged}", "--epochs=1"))
    assert "none is needed: its captions are read" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="--skip_unreadable leaves them out"):
        train_knight.main(knight_argv("judged-on-damaged", f"--data={damaged}", "--from=skipping/b"))
    bare = shutil.copytree(damaged, tmp_path / "bare")
    shutil.rmtree(bare / "Images")
    encoder = next(word for word in knight_argv("x") if word.startswith("--target_encoder"))
    filter_captions.main([f"--data={bare}", encoder, "--device=cpu", f"--out={tmp_path / 'kept.csv'}"])
    assert (tmp_path / "kept.csv").read_text(encoding="utf-8").startswith('"image","caption"\n"train00.png",')
