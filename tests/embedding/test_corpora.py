import importlib.util
import json
import shutil

from clipknight.data.datasets import read_dataset
from clipknight.embedding import corpora
from clipknight.embedding.captioned_dataset import CaptionedDataset
from clipknight.embedding.clip import load_clip
from clipknight.embedding.corpora import Corpus, corpus_embeddings, read_corpus
from clipknight.embedding.target_encoder import load_target_encoder

import numpy as np
import pandas as pd
import pytest

UNRELATED = (
    "a man rides a horse along the beach",
    "two cups of coffee on a wooden table",
    "an old church tower under a stormy sky",
    "a puppy sleeps in a laundry basket",
    "skiers wait for the chairlift",
    "a bowl of noodles with an egg",
    "three sailing boats leave the harbour",
    "a violinist plays in the underground",
    "rusty tools hang in a workshop",
    "children blow soap bubbles",
)


def write(path, text, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="", **options)
    return str(path)


def rows(corpus):
    return list(zip(corpus.captions["id"], corpus.texts, strict=True))


@pytest.fixture
def forty(tmp_path):
    """40 images of one to five captions, in shuffled lines."""
    lines = [f"caption {n} of {image}\t{image}" for image in range(40) for n in range(1 + image % 5)]
    np.random.default_rng(0).shuffle(lines)
    return read_corpus([write(tmp_path / "forty.txt", "\n".join(lines))])


# Sources


def test_of_a_dataset_the_training_captions(coloured):
    corpus = read_corpus([str(coloured)])
    train = read_dataset(coloured).split("train").captions
    assert (corpus.name, len(corpus)) == ("coloured", 120)
    assert rows(corpus) == list(zip(train["id"], train["caption"], strict=True))
    assert corpus.captions.columns.tolist() == ["source", "id", "caption", "caption_id"]
    assert corpus.captions["caption_id"].tolist() == ("coloured/" + train["caption_id"]).tolist()


def test_of_a_dataset_without_splits_the_made_training_split(tmp_path):
    folder = tmp_path / "plain"
    write(folder / "captions.txt", "\n".join(["image,caption", *(f"{i}.png,{t}" for i, t in enumerate(UNRELATED))]))
    for i in range(len(UNRELATED)):
        write(folder / "Images" / f"{i}.png", "")
    made = CaptionedDataset.read(folder, device="cpu").dataset.split("train")
    assert rows(read_corpus([str(folder)])) == list(zip(made.ids, made.captions["caption"], strict=True))
    assert len(made) == 8


def test_a_file_that_describes_a_dataset(tmp_path):
    images = []
    for name, split in (("a", "train"), ("b", "val"), ("c", "test")):
        write(tmp_path / "images" / f"{name}.jpg", "")
        images.append({"filename": f"{name}.jpg", "split": split, "sentences": [{"raw": f"{name} is said"}]})
    file = write(tmp_path / "dataset_mine.json", json.dumps({"images": images, "dataset": "mine"}))
    assert rows(read_corpus([file])) == [("a", "a is said")]


@pytest.mark.parametrize("images_are_there", [True, False])
def test_text_alone_needs_no_images(tmp_path, images_are_there):
    images = [{"id": n, "file_name": f"{n}.jpg"} for n in (1, 2)]
    said = [{"id": 10 + n, "image_id": n, "caption": f"a dog {n}"} for n in (1, 2)]
    for part in ("train2017", "val2017"):
        content = json.dumps({"images": images, "annotations": said})
        file = write(tmp_path / "coco" / "annotations" / f"captions_{part}.json", content)
        for n in (1, 2) if images_are_there else ():
            write(tmp_path / "coco" / part / f"{n}.jpg", "")
    expected = [("train2017/1", "a dog 1"), ("train2017/2", "a dog 2")]
    assert rows(read_corpus([str(tmp_path / "coco")])) == expected
    assert [text for _, text in rows(read_corpus([file]))] == ["a dog 1", "a dog 2"]  # the valid split alone, by name


def test_without_images_nor_splits_all_captions_are_the_corpus(tmp_path):
    file = write(tmp_path / "data" / "captions.txt", "image,caption\na.jpg,one\nb.jpg,two\n")
    assert rows(read_corpus([str(tmp_path / "data")])) == [("a", "one"), ("b", "two")]
    assert rows(read_corpus([file])) == [("a.jpg", "one"), ("b.jpg", "two")]


def test_names_are_never_taken_for_captions(tmp_path):
    file = write(tmp_path / "Flickr8k.token.txt", "a.jpg#0\tA dog .\na.jpg#1\tA cat .\n")
    assert rows(read_corpus([file])) == [("a.jpg", "A dog ."), ("a.jpg", "A cat .")]
    file = write(tmp_path / "AllVideoDescriptions.txt", "\n-4wsuPCjDBc_5_15 a squirrel eats\n")
    assert rows(read_corpus([file])) == [("-4wsuPCjDBc_5_15", "a squirrel eats")]


def test_a_dataset_without_training_captions(coloured, tmp_path):
    folder = shutil.copytree(coloured, tmp_path / "held")
    (folder / "Flickr_8k.trainImages.txt").unlink()
    with pytest.raises(ValueError, match="held has no training captions: held .flickr.: 38 images"):
        read_corpus([str(folder)])


def test_captions_are_on_one_line_and_stay_text(coloured, tmp_path):
    corpus = read_corpus([write(tmp_path / "gaps.csv", 'image,caption\na,"two\nlines\u2028 three"\nb, a  b\t c \n')])
    assert rows(corpus) == [("a", "two lines three"), ("b", "a b c")]
    assert corpus.captions["caption"].dtype == corpus.captions["id"].dtype == "str"


@pytest.fixture(scope="module")
def coco():
    pytest.importorskip("pycocoevalcap")
    return read_corpus(["coco"])


def test_coco_from_its_package(coco):
    assert (coco.name, len(coco)) == ("coco", 414_113)
    assert coco.described.max() + 1 == 82_783 and (np.diff(coco.described) >= 0).all()
    assert coco.captions["caption_id"].is_unique and coco.captions["id"][0] == "9"
    assert coco.texts[0] == "A restaurant has modern wooden tables and chairs." or "  " not in coco.texts[0]


def test_coco_without_its_package(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match=r"'coco' comes inside pycocoevalcap: .*clipknight\[metrics\]"):
        read_corpus(["coco"])


def test_a_tsv_without_a_header_has_a_caption_and_an_id_a_line(tmp_path):
    (tmp_path / "clips.tsv").write_text("a dog runs, dogs run\tclip1\na cat sits\tclip2\n", encoding="utf-8")
    corpus = read_corpus([str(tmp_path / "clips.tsv")], ", ")
    assert list(corpus.texts) == ["a dog runs", "dogs run", "a cat sits"]
    assert corpus.captions["id"].tolist() == ["clip1", "clip1", "clip2"]


@pytest.mark.parametrize(
    "name, text",
    [
        ("t.csv", 'image,caption\na.jpg,"one, two"\nb.jpg,three\n'),
        ("t.tsv", "image\tcaption\na.jpg\tone, two\nb.jpg\tthree\n"),
        ("t.txt", '\ufeffimage,caption\r\na.jpg,"one, two"\r\nb.jpg,three\r\n'),
    ],
)
def test_tables(tmp_path, name, text):
    corpus = read_corpus([write(tmp_path / name, text)])
    assert corpus.name == "t" and rows(corpus) == [("a.jpg", "one, two"), ("b.jpg", "three")]
    assert corpus.captions["caption_id"].tolist() == ["t/a.jpg#0", "t/b.jpg#0"]


def test_a_table_with_other_columns(tmp_path):
    pd.DataFrame({"photo": ["a", "a"], "said": ["one", "two"]}).to_parquet(tmp_path / "t.parquet")
    corpus = read_corpus([str(tmp_path / "t.parquet")], columns=corpora.Columns("photo", "said"))
    assert rows(corpus) == [("a", "one"), ("a", "two")] and corpus.described.tolist() == [0, 0]
    with pytest.raises(ValueError, match="the header needs the columns"):
        read_corpus([str(tmp_path / "t.parquet")])


def test_a_line_is_a_caption_of_its_own(tmp_path):
    file = write(tmp_path / "lines.txt", "a dog  runs\na dog\x0cor\u2028a cat\r\nindented \nlast")
    corpus = read_corpus([file])
    assert rows(corpus) == [("1", "a dog runs"), ("2", "a dog or a cat"), ("3", "indented"), ("4", "last")]
    assert corpus.described.tolist() == [0, 1, 2, 3]


def test_after_a_tab_stands_what_is_described(tmp_path):
    corpus = read_corpus([write(tmp_path / "lines.txt", "one\tx\ntwo\t y \nthree\tx\nfour\t\nand\tfive\tx\n")])
    assert rows(corpus) == [("x", "one"), ("y", "two"), ("x", "three"), ("4", "four"), ("x", "and five")]
    assert corpus.captions["caption_id"].tolist() == [f"lines/{i}" for i in ("x#0", "y#0", "x#1", "4#0", "x#2")]


@pytest.mark.parametrize("separator", ["|", "||", "<SEP>", ". "])
def test_several_captions_on_a_line(tmp_path, separator):
    file = write(tmp_path / "lines.txt", f"one{separator}two, 2\tx\nthree\n")
    assert rows(read_corpus([file], separator)) == [("x", "one"), ("x", "two, 2"), ("2", "three")]


def test_several_sources(coloured, tmp_path):
    first, second = write(tmp_path / "a.txt", "one\tx\ntwo\ty\n"), write(tmp_path / "b.txt", "three\tx\n")
    corpus = read_corpus([first, str(coloured), second])
    assert corpus.name == "a+coloured+b" and len(corpus) == 123
    assert corpus.described[0] != corpus.described[-1]  # both are called x
    assert corpus.captions["caption_id"].is_unique
    assert [(part.name, len(part)) for part in corpus.parts()] == [("a", 2), ("coloured", 120), ("b", 1)]
    assert np.concatenate([part.texts for part in corpus.parts()]).tolist() == corpus.texts.tolist()


def test_blank_captions_are_left_out_and_counted(tmp_path, capsys):
    corpus = read_corpus([write(tmp_path / "lines.txt", "one\n\n \u2003\t3\ntwo\n")])
    assert rows(corpus) == [("1", "one"), ("4", "two")]
    assert "lines: 2 blank captions left out" in capsys.readouterr().out


def test_caption_ids_are_unique_even_among_odd_ids(tmp_path):
    corpus = read_corpus([write(tmp_path / "lines.txt", "one\tx\ntwo\tx#0\nthree\tx\nfour\tx/y\nfive\tx#0\n")])
    assert corpus.captions["caption_id"].is_unique


# Errors


def test_errors_say_what_is_wrong(tmp_path):
    with pytest.raises(ValueError, match="a corpus needs a source"):
        read_corpus([])
    with pytest.raises(ValueError, match="a corpus has an empty name"):
        read_corpus([""])
    with pytest.raises(FileNotFoundError, match="corpus 'flikr8k': neither a dataset's folder, nor a file, nor 'coco'"):
        read_corpus(["flikr8k"])
    with pytest.raises(ValueError, match="empty.txt: no caption"):
        read_corpus([write(tmp_path / "empty.txt", "")])
    with pytest.raises(ValueError, match="blank.txt: no caption"):
        read_corpus([write(tmp_path / "blank.txt", "\n \n")])
    (tmp_path / "latin.txt").write_bytes("one\ncafé\n".encode("latin-1"))
    with pytest.raises(ValueError, match="latin.txt, line 2: byte 0xe9 is not UTF-8"):
        read_corpus([str(tmp_path / "latin.txt")])
    files = [write(tmp_path / "a" / "same.txt", "one"), write(tmp_path / "b" / "same.csv", "image,caption\na,b\n")]
    with pytest.raises(ValueError, match="called the same, rename one: same, same"):
        read_corpus(files)


# Shares


def test_a_share_is_of_whole_images_and_seeded(forty):
    half = forty.share(0.5, seed=3)
    assert len(set(half.captions["id"])) == 20
    assert rows(half) == [row for row in rows(forty) if row[0] in set(half.captions["id"])]
    assert half.captions.equals(forty.share(0.5, seed=3).captions)
    assert not half.captions.equals(forty.share(0.5, seed=4).captions)
    assert half.captions.index.tolist() == list(range(len(half)))


def test_a_source_names_the_share_of_it_that_is_taken(tmp_path):
    lines = "".join(f"caption {i}{j}\t{i}\n" for i in range(40) for j in range(2))
    file = write(tmp_path / "lines.txt", lines)
    part, whole = read_corpus([f"{file}@0.25"], seed=3), read_corpus([file], seed=3)
    assert part.captions.equals(whole.share(0.25, seed=3).captions)
    both = read_corpus([f"{file}@.5", write(tmp_path / "more@1.txt", "one")], seed=3)
    assert both.name == "lines+more@1" and len(both) == 41
    with pytest.raises(ValueError, match="above 0 and at most 1, not 1.5"):
        read_corpus([f"{file}@1.5"])


def test_all_and_one_image(forty):
    assert forty.share(1) is forty
    assert len(set(forty.share(1e-6).captions["id"])) == 1
    for share in (0, -0.5, 1.5):
        with pytest.raises(ValueError, match=f"above 0 and at most 1, not {share}"):
            forty.share(share)


def test_what_is_held_out_shares_no_image_with_the_rest(forty):
    rest, held = forty.held_out(0.25, seed=1)
    assert len(set(held.captions["id"])) == 10 and not set(held.captions["id"]) & set(rest.captions["id"])
    assert sorted(rows(rest) + rows(held)) == sorted(rows(forty)) and rest.name == held.name == "forty"
    assert rest.captions.index.tolist() == list(range(len(rest)))


def test_of_one_image_nothing_can_be_held_out(tmp_path):
    corpus = read_corpus([write(tmp_path / "lines.txt", "one\tx\ntwo\tx\n")])
    with pytest.raises(ValueError, match="lines describes one image or video alone"):
        corpus.held_out(0.01)


def test_the_whole_of_a_dataset(coloured):
    corpus = Corpus.of(read_dataset(coloured).split("valid"))
    assert (corpus.name, len(corpus), corpus.described.max() + 1) == ("coloured", 40, 8)
    assert corpus.captions["caption_id"][0] == "dev00#0"


# Embeddings


def test_targets_of_all_sources_in_order(coloured, tiny_target_encoder, tmp_path, monkeypatch):
    corpus = read_corpus([write(tmp_path / "first.txt", "a red wall\nblue and white\n"), str(coloured)])
    embedded = corpus_embeddings(corpus, "target", str(tiny_target_encoder), "cpu")
    assert embedded.ids.tolist() == corpus.captions["caption_id"].tolist()
    encoder = load_target_encoder(str(tiny_target_encoder), "cpu")
    expected = encoder.encode(corpus.texts.tolist(), normalize_embeddings=True, show_progress_bar=False)
    np.testing.assert_allclose(embedded.vectors, expected, atol=0.02)  # bf16 where the processor has it
    monkeypatch.setattr(encoder, "encode", None)
    monkeypatch.setattr(corpora, "load_target_encoder", lambda *_: encoder)
    alone = read_corpus([str(coloured)])  # has been encoded as the second source
    np.testing.assert_array_equal(
        corpus_embeddings(alone, "target", str(tiny_target_encoder), "cpu").vectors, embedded.vectors[2:]
    )


def test_captions_of_a_clip(coloured, tiny_clip):
    corpus = read_corpus([str(coloured)]).share(0.2)
    embedded = corpus_embeddings(corpus, str(tiny_clip), device="cpu")
    expected = load_clip(str(tiny_clip), "cpu").encode_captions(corpus.texts.tolist())
    np.testing.assert_allclose(embedded.vectors, expected, atol=0.02)
    assert embedded.dim == 16 and embedded.ids.tolist() == corpus.captions["caption_id"].tolist()
