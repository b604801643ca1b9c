import shutil

import filter_captions
import train_a
import train_b
from clipknight.data.caption_filter import filter_similar
from clipknight.data.caption_table import read_caption_table
from clipknight.embedding.captioned_dataset import CaptionedDataset
from clipknight.embedding.settings import KeptDataSettings
from clipknight.training.run_datasets import images_of_split
from clipknight.training.runs import Run
from filter_captions import main

import numpy as np
import pandas as pd
import pytest


@pytest.fixture(scope="module")
def words(tiny_target_encoder):
    return [f"--target_encoder={tiny_target_encoder}", "--device=cpu"]


@pytest.fixture(scope="module")
def train(coloured, tiny_target_encoder):
    return CaptionedDataset.read(coloured, str(tiny_target_encoder), "cpu").split("train")


@pytest.fixture(scope="module")
def kept(coloured, words, tmp_path_factory):
    """The captions of `coloured` kept at 0.99: 18 of 24 training images repeat the first six."""
    out = tmp_path_factory.mktemp("kept") / "kept.csv"
    return main([f"--data={coloured}", *words, "--threshold=0.99", f"--out={out}"])


def rows(path):
    return list(read_caption_table(path).rows[["name", "caption"]].itertuples(index=False, name=None))


def by_hand(train, threshold, order=None):
    """(image file, caption) of what stays."""
    kept = filter_similar(train.targets.vectors, threshold, order).kept
    captions = train.dataset.captions[kept]
    return [(f"{image}.png", caption) for image, caption in zip(captions["id"], captions["caption"], strict=True)]


def test_the_training_captions_kept(kept, train):
    assert rows(kept) == by_hand(train, 0.99)
    assert {image for image, _ in rows(kept)} == {f"train{i:02d}.png" for i in range(6)}
    assert sorted(path.name for path in kept.parent.iterdir()) == ["kept-dropped.csv", "kept.csv"]


def test_the_report_says_who_dropped_what(kept, train):
    report = pd.read_csv(kept.with_name("kept-dropped.csv"))
    assert report.columns.tolist() == ["image", "caption", "kept_image", "kept_caption", "cosine"]
    assert len(report) + len(rows(kept)) == len(train.targets)
    vectors = dict(zip(train.dataset.captions["caption"], train.targets.vectors, strict=True))
    for row in report.itertuples():
        assert (row.kept_image, row.kept_caption) in rows(kept) and row.cosine > 0.99
        assert row.cosine == pytest.approx(float(vectors[row.caption] @ vectors[row.kept_caption]), abs=1e-5)


def test_the_summary(coloured, words, tmp_path, capsys, train):
    path = main([f"--data={coloured}", *words, "--threshold=0.999", f"--out={tmp_path / 'kept.csv'}"])
    said, n = capsys.readouterr().out, len(rows(path))
    assert f"kept {n} of 120 captions, dropped {120 - n}" in said and "18 of 24 images have none left" in said
    commonest = filter_similar(train.targets.vectors, 0.999).dropped_by
    most = np.bincount(commonest[commonest >= 0]).argmax()
    assert f"{(commonest == most).sum():>6}  {train.dataset.captions['caption'][most]}\n" in said
    assert said.count("  <-  ") == 5


def test_many_captions_are_compared_by_cells(coloured, words, train, kept, capsys, monkeypatch):
    monkeypatch.setattr(filter_captions, "EXACT_ROWS", 119)
    path = main([f"--data={coloured}", *words, "--threshold=0.99", "--order=shuffled"])
    order = np.random.default_rng(0).permutation(120)
    assert "of comparing by cells, which found 100.0% of those to drop" in capsys.readouterr().out
    assert rows(path) == by_hand(train, 0.99, order) != rows(kept)
    monkeypatch.undo()
    assert rows(main([f"--data={coloured}", *words, "--threshold=0.99", "--compared=cells"])) == rows(kept)


def test_the_seed_shuffles(coloured, words, train):
    shuffled = main([f"--data={coloured}", *words, "--threshold=0.9", "--order=shuffled", "--seed=7"])
    order = np.random.default_rng(7).permutation(120)
    assert rows(shuffled) == by_hand(train, 0.9, order) != by_hand(train, 0.9)


def test_the_default_file_and_threshold(coloured, words, outputs, train):
    path = main([f"--data={coloured}", *words])
    assert path == outputs / "filtered" / "coloured-0.85.csv" and rows(path) == by_hand(train, 0.85)


def test_a_table_of_captions_without_images(words, tmp_path):
    odd = ["a red picture", 'red, "and"\nnothing', "a red picture", " and blue\r", "the green square"]
    table = pd.DataFrame({"imgId": ["x", "null", "NA", "sub/y.jpg", "x"], "prompt": odd})
    table.to_csv(tmp_path / "prompts.csv", index=False, quoting=1)
    path = main([f"--table={tmp_path / 'prompts.csv'}", *words, "--threshold=0.9999", f"--out={tmp_path / 'kept.csv'}"])
    assert rows(path) == [(name, odd[i]) for i, name in enumerate(table["imgId"]) if i != 2]
    assert rows(path) == rows(tmp_path / "prompts.csv")[:2] + rows(tmp_path / "prompts.csv")[3:]


def test_a_caption_of_thousands_of_letters_is_shown_in_part(words, tmp_path, capsys):
    (tmp_path / "t.csv").write_text("image,caption\n" + f"a.jpg,{'a red picture ' * 1500}\n" * 2, encoding="utf-8")
    main([f"--table={tmp_path / 't.csv'}", *words, f"--out={tmp_path / 'k.csv'}"])
    assert max(map(len, capsys.readouterr().out.splitlines())) < 500
    assert rows(tmp_path / "k.csv") == [("a.jpg", "a red picture " * 1500)]


def test_mistakes_end_with_one_line(coloured, words, tmp_path):
    for wrong in ([], [f"--data={coloured}", "--table=t.csv"]):
        with pytest.raises(SystemExit, match="--data DATASET or --table CSV, one of them"):
            main([*wrong, *words])
    with pytest.raises(SystemExit, match="--order size is not allowed: give one of file, shuffled"):
        main([f"--data={coloured}", *words, "--order=size"])
    with pytest.raises(SystemExit, match="--threshold 85 is not allowed: give a number above 0 and below 1"):
        main([f"--data={coloured}", *words, "--threshold=85", f"--out={tmp_path / 'k.csv'}"])
    (tmp_path / "blank.csv").write_text("image,caption\na.jpg,one\nb.jpg, \n", encoding="utf-8")
    with pytest.raises(SystemExit, match="empty captions in rows 3"):
        main([f"--table={tmp_path / 'blank.csv'}", *words])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["blank.csv"]


def test_only_what_was_kept_is_trained_on(coloured, tiny_target_encoder, kept, capsys):
    settings = KeptDataSettings(
        data=str(coloured), target_encoder=str(tiny_target_encoder), device="cpu", keep=str(kept)
    )
    data = CaptionedDataset.of(settings)
    said = capsys.readouterr().out
    assert f"{120 - len(rows(kept))} training captions are left out, and 18 of 24 training images" in said
    train = data.split("train")
    assert train.dataset.ids.tolist() == [f"train{i:02d}" for i in range(6)]
    pairs = zip(train.dataset.captions["id"] + ".png", train.dataset.captions["caption"], strict=True)
    assert list(pairs) == rows(kept)
    assert train.targets.ids.tolist() == train.dataset.captions["caption_id"].tolist()
    whole = CaptionedDataset.of(KeptDataSettings(**{**vars(settings), "keep": ""}))
    for split in ("valid", "test"):
        assert data.split(split).targets.ids.tolist() == whole.split(split).targets.ids.tolist()
    first = whole.split("train").targets.aligned_to(train.targets.ids)
    np.testing.assert_array_equal(train.targets.vectors, first.vectors)


def test_both_models_train_on_it(coloured, tiny_clip, words, kept):
    shared = [
        f"--data={coloured}",
        f"--encoder={tiny_clip}",
        *words,
        f"--keep={kept}",
        "--workers=0",
        "--precision=fp32",
    ]
    train_b.main([*shared, "--run=filtered/b"])
    run = Run.open("filtered/b")
    assert len(np.load(run.folder / "best" / "keys.npy")) == 6
    assert len(run.predictions("valid")) == 8
    train_b.main([*shared, "--run=filtered/b_joint", "--space=joint"])
    assert len(np.load(Run.open("filtered/b_joint").folder / "best" / "keys.npy")) == len(rows(kept))
    train_a.main([*shared, "--run=filtered/a", "--epochs=1", "--batch_size=6", "--head_epochs=1"])
    assert Run.open("filtered/a").settings["keep"] == str(kept)


def test_a_made_split_is_that_of_the_whole_dataset(coloured, words, tiny_clip, outputs, tmp_path):
    folder = shutil.copytree(coloured, tmp_path / "unsplit-filtered")
    for file in folder.glob("Flickr_8k.*"):
        file.unlink()
    encoder = words[0].partition("=")[2]
    ids = CaptionedDataset.read(folder, encoder, "cpu").dataset.ids
    (made,) = (outputs / "embeddings" / "unsplit-filtered").glob("split-*.csv")
    splits = {"tr": "train", "de": "valid", "te": "test"}
    made.write_text("\n".join(["id,split", *(f"{i},{splits[i[:2]]}" for i in ids), ""]), encoding="utf-8")
    kept = main([f"--data={folder}", *words, f"--out={tmp_path / 'kept.csv'}"])
    shared = [f"--data={folder}", f"--encoder={tiny_clip}", *words, "--workers=0"]
    train_b.main([*shared, "--run=filtered/unsplit", f"--keep={kept}"])
    run = Run.open("filtered/unsplit")
    assert len(np.load(run.folder / "best" / "keys.npy")) == len({image for image, _ in rows(kept)}) < 24
    assert [len(images_of_split(run, split, device="cpu")) for split in splits.values()] == [24, 8, 6]


def test_a_list_that_keeps_nothing_or_comes_from_elsewhere_is_refused(coloured, words, tmp_path):
    valid = tmp_path / "valid.csv"
    valid.write_text("image,caption\ndev00.png,a red picture\n", encoding="utf-8")
    with pytest.raises(SystemExit, match="valid.csv keeps no training caption of coloured"):
        train_b.main([f"--data={coloured}", *words, f"--keep={valid}", "--run=filtered/none"])
    valid.write_text("image,caption\ndev00.png,a purple picture\n", encoding="utf-8")
    with pytest.raises(SystemExit, match="1 of 1 rows of .*valid.csv are no captions of coloured, the first in row 2"):
        train_b.main([f"--data={coloured}", *words, f"--keep={valid}", "--run=filtered/none"])
