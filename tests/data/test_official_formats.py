"""The formats in which data sets are released, in miniature."""

import json
import unicodedata
from pathlib import Path

from clipknight.data.caption_table import read_caption_table
from clipknight.data.datasets import read_dataset
from clipknight.data.settings import Columns

import pandas as pd
import pytest
from PIL import Image


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def split_of(data):
    return dict(zip(data.images["id"], data.images["split"], strict=True))


# Flickr


@pytest.fixture
def flickr8k(tmp_path):
    """As its authors released it: two archives, unpacked into one folder."""
    touch(tmp_path, *(f"Flicker8k_Dataset/{name}.jpg" for name in "abc"), "CrowdFlowerAnnotations.txt", "readme.txt")
    lines = ["a.jpg#0\tA child plays .", "a.jpg#1\tA dog , too .", "b.jpg#0\tTwo # dogs .", "c.jpg#0\tA cat ."]
    lines.append("c.jpg.1#0\tA picture that was never released .")
    (tmp_path / "Flickr8k.token.txt").write_text("\n".join([*lines, ""]), encoding="utf-8")
    (tmp_path / "Flickr8k.lemma.token.txt").write_text("a.jpg#0\ta child play .\n", encoding="utf-8")
    for split, name in {"train": "a", "dev": "b", "test": "c"}.items():
        (tmp_path / f"Flickr_8k.{split}Images.txt").write_text(f"{name}.jpg\n", encoding="utf-8")
    return tmp_path


def test_flickr8k_as_released(flickr8k, capsys):
    data = read_dataset(flickr8k)
    assert data.layout == "flickr" and split_of(data) == {"a": "train", "b": "valid", "c": "test"}
    assert data.caption_lists() == {"a": ["A child plays .", "A dog , too ."], "b": ["Two # dogs ."], "c": ["A cat ."]}
    assert "left out 1 captions of pictures that were never released: c.jpg.1" in capsys.readouterr().out


def test_a_row_of_a_token_file_that_is_none_says_where(flickr8k):
    (flickr8k / "Flickr8k.token.txt").write_text("a.jpg#0\tone\nb.jpg two\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"Flickr8k.token.txt, line 2: other lines of this file are name.jpg#0, a tab"):
        read_dataset(flickr8k)


def test_flickr8k_on_kaggle_has_the_row_that_was_never_released(tmp_path):
    touch(tmp_path, "Images/a.jpg")
    (tmp_path / "captions.txt").write_text("image,caption\na.jpg,one\na.jpg.1,two\n", encoding="utf-8")
    assert read_dataset(tmp_path).caption_lists() == {"a": ["one"]}


@pytest.mark.parametrize("row", ["2.jpg, 4   A dog runs .,", '2.jpg," 4   A dog runs .",'])
def test_flickr30k_with_commas_and_its_broken_row(tmp_path, row):
    touch(tmp_path, "flickr30k_images/1.jpg", "flickr30k_images/2.jpg")
    rows = ["image_name,comment_number,comment", '1.jpg, 0," Two ""young"" guys ."', row]
    (tmp_path / "captions.txt").write_text("\n".join([*rows, ""]), encoding="utf-8")
    assert read_dataset(tmp_path).caption_lists() == {"1": ['Two "young" guys .'], "2": ["A dog runs ."]}


# MSR-VTT and MSVD


def write_msrvtt(folder, sentences_of_test=False):
    touch(folder, "TrainValVideo/video0.mp4", "TrainValVideo/video1.mp4", "TestVideo/video2.mp4")
    videos = [{"video_id": f"video{n}", "split": split} for n, split in enumerate(["train", "validate", "test"])]
    said = [{"video_id": f"video{n}", "caption": f"clip {n}"} for n in range(3)]
    (folder / "train_val_videodatainfo.json").write_text(
        json.dumps({"videos": videos[:2], "sentences": said[:2]}), encoding="utf-8"
    )
    test = {"videos": videos[2:]} | ({"sentences": said[2:]} if sentences_of_test else {})
    (folder / "test_videodatainfo.json").write_text(json.dumps(test), encoding="utf-8")
    return folder


@pytest.mark.parametrize("sentences_of_test", [False, True])
def test_msrvtts_test_videos_may_have_no_sentences(tmp_path, sentences_of_test):
    data = read_dataset(write_msrvtt(tmp_path, sentences_of_test))
    train, valid, test = "TrainValVideo/video0", "TrainValVideo/video1", "TestVideo/video2"
    assert split_of(data) == {train: "train", valid: "valid", test: "test"} and data.media == "video"
    said = {train: ["clip 0"], valid: ["clip 1"]} | ({test: ["clip 2"]} if sentences_of_test else {})
    assert data.caption_lists() == said


@pytest.mark.parametrize(
    "header, columns",
    [
        ("key,vid_key,video_id,sentence", Columns()),
        ("key,vid_key,video_id,sentence", Columns("video_id", "sentence")),
        ("key,x,image,caption", Columns()),
    ],
)
def test_msrvtts_1ka_list_names_clips_without_their_suffix(tmp_path, header, columns):
    touch(tmp_path, "videos/video7020.mp4", "videos/video7021.mp4")
    rows = ["ret0,msr7020,video7020,a woman folds paper", "ret1,msr7021,video7021,a cat"]
    (tmp_path / "MSRVTT_JSFUSION_test.csv").write_text("\n".join([header, *rows]), encoding="utf-8")
    data = read_dataset(tmp_path, columns)
    assert data.media == "video" and data.caption_lists() == {
        "video7020": ["a woman folds paper"],
        "video7021": ["a cat"],
    }


def test_msvds_list_of_descriptions(tmp_path):
    touch(tmp_path, "YouTubeClips/-4wsuPCjDBc_5_15.avi", "YouTubeClips/mv89psg6zh4_33_46.avi")
    lines = ["# MSVD", "", "-4wsuPCjDBc_5_15 a squirrel eats a peanut", "mv89psg6zh4_33_46 a bird  sings"]
    (tmp_path / "AllVideoDescriptions.txt").write_text("\r\n".join(lines), encoding="utf-8")
    data = read_dataset(tmp_path)
    assert data.media == "video" and data.caption_lists() == {
        "-4wsuPCjDBc_5_15": ["a squirrel eats a peanut"],
        "mv89psg6zh4_33_46": ["a bird  sings"],
    }


# COCO and Karpathy


def write_coco(folder, part="val2014"):
    images = [{"id": 7, "file_name": f"COCO_{part}_7.jpg"}]
    said = [{"id": 1, "image_id": 7, "caption": "a dog"}, {"id": 2, "image_id": 7, "caption": "a cat"}]
    (folder / "annotations").mkdir(exist_ok=True)
    file = folder / "annotations" / f"captions_{part}.json"
    file.write_text(json.dumps({"images": images, "annotations": said}), encoding="utf-8")
    return file


def write_karpathy(folder):
    sentences = {"train": ["a dog", "a cat"], "test": ["a bird"]}
    images = [
        {
            "filename": f"{split}.jpg",
            "filepath": "val2014",
            "split": split,
            "sentences": [{"raw": text} for text in texts],
        }
        for split, texts in sentences.items()
    ]
    (folder / "dataset_coco.json").write_text(json.dumps({"images": images}), encoding="utf-8")
    return folder / "dataset_coco.json"


def test_coco_val_alone(tmp_path):
    write_coco(touch(tmp_path, "val2014/COCO_val2014_7.jpg"))
    assert split_of(read_dataset(tmp_path)) == {"val2014/COCO_val2014_7": "valid"}


def test_captions_are_read_without_any_image(tmp_path):
    def rows(path):
        data = read_dataset(path, text_alone=True)
        return data.captions.assign(split=data.captions["id"].map(split_of(data)))[
            ["id", "caption", "split"]
        ].values.tolist()

    file = write_coco(tmp_path)
    expected = [["val2014/COCO_val2014_7", text, "valid"] for text in ("a dog", "a cat")]
    assert rows(file) == rows(tmp_path) == expected
    file = write_karpathy(tmp_path)
    assert rows(file) == [
        ["val2014/test", "a bird", "test"],
        ["val2014/train", "a dog", "train"],
        ["val2014/train", "a cat", "train"],
    ]
    write_msrvtt(tmp_path / "videos")
    for clip in tmp_path.rglob("*.mp4"):
        clip.unlink()
    assert rows(tmp_path / "videos") == [["video0", "clip 0", "train"], ["video1", "clip 1", "valid"]]


@pytest.mark.parametrize(
    "entry, message",
    [
        (1, "number 1 is 1"),
        ({"sentences": None}, "'filename' is missing"),
        ({"filename": 7, "split": "train", "sentences": []}, "'filename' is 7, not text"),
        ({"filename": "a.jpg", "split": "train", "sentences": None}, "'sentences' is null, not a list"),
        ({"filename": "a.jpg", "split": "train", "sentences": ["a dog"]}, "image number 1: .* one has 'a dog'"),
        ({"filename": "a.jpg", "split": "train", "sentences": [{"raw": 5}]}, "image number 1: .* one has 5"),
    ],
)
def test_karpathys_records_of_other_types_are_named(tmp_path, entry, message):
    (tmp_path / "dataset.json").write_text(json.dumps({"images": [entry]}), encoding="utf-8")
    with pytest.raises(ValueError, match=f"dataset.json.*{message}"):
        read_dataset(tmp_path)


def test_records_are_no_captions(tmp_path):
    touch(tmp_path, "a.jpg")
    (tmp_path / "captions.json").write_text(
        json.dumps({"a.jpg": ["one", {"caption": "two", "id": 1}]}), encoding="utf-8"
    )
    with pytest.raises(ValueError, match="captions.json: a caption of 'a.jpg' is a record of caption, id, not text"):
        read_dataset(tmp_path)


# Tables


@pytest.mark.parametrize(
    "pictures", [[{"bytes": bytes(30_000), "path": "a.jpg"}], [bytes(30_000)]], ids=["datasets", "bytes"]
)
def test_pictures_inside_a_table_are_not_printed(tmp_path, pictures):
    pd.DataFrame({"image": pictures, "caption": ["a dog"]}).to_parquet(tmp_path / "train.parquet")
    with pytest.raises(ValueError, match="column 'image' holds pictures themselves, not names of files") as error:
        read_caption_table(tmp_path / "train.parquet")
    assert len(str(error.value)) < 400
    assert Path(read_dataset(tmp_path).images["path"][0]).read_bytes() == bytes(30_000)


def test_parquets_whole_numbers_name_files_and_lists_are_no_captions(tmp_path):
    touch(tmp_path, "7.jpg")
    pd.DataFrame({"image": pd.array([7, None], "Int64"), "caption": ["a dog", "x"]}).head(1).to_parquet(
        tmp_path / "t.parquet"
    )
    assert read_dataset(tmp_path).caption_lists() == {"7": ["a dog"]}
    pd.DataFrame({"image": ["7.jpg"], "caption": [["a dog", "a cat"]]}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(ValueError, match="column 'caption' holds list<.*>, not text, one caption a row"):
        read_dataset(tmp_path)


def test_a_parquet_file_cut_off_is_named(tmp_path):
    pd.DataFrame({"image": ["7.jpg"], "caption": ["a dog"]}).to_parquet(tmp_path / "t.parquet")
    data = (tmp_path / "t.parquet").read_bytes()
    (tmp_path / "t.parquet").write_bytes(data[:-20])
    with pytest.raises(ValueError, match="t.parquet is not a Parquet file, or cut off"):
        read_dataset(tmp_path)


def test_a_table_as_a_european_excel_saves_it(tmp_path):
    touch(tmp_path, "a.jpg")
    (tmp_path / "t.csv").write_text(
        'sep=;\r\nimage;caption\r\na.jpg;"red; blue, green"\r\n', encoding="utf-8-sig", newline=""
    )
    assert read_dataset(tmp_path).caption_lists() == {"a": ["red; blue, green"]}


# Names and missing files


@pytest.mark.parametrize("on_disk, named", [("NFD", "NFC"), ("NFC", "NFD")])
def test_names_in_another_unicode_form_or_in_capitals_are_taken(tmp_path, capsys, on_disk, named):
    names = ["café", "über"]
    touch(tmp_path, *(f"Images/{unicodedata.normalize(on_disk, name)}.jpg" for name in names), "Images/plain.JPG")
    rows = [f"{unicodedata.normalize(named, name)}.jpg,{name}" for name in names]
    (tmp_path / "captions.txt").write_text("\n".join(["image,caption", *rows, "plain.jpg,plain"]), encoding="utf-8")
    data = read_dataset(tmp_path)
    assert sorted(caption for (caption,) in data.caption_lists().values()) == ["café", "plain", "über"]
    assert "3 names differ from their files' in Unicode form or capital letters alone" in capsys.readouterr().out
    (tmp_path / "captions.txt").rename(tmp_path / "t.csv")
    assert len(read_dataset(tmp_path)) == 3


def test_a_link_that_leads_nowhere_is_named(tmp_path):
    touch(tmp_path, "Images/a.jpg")
    (tmp_path / "Images" / "b.jpg").symlink_to("/nowhere/b.jpg")
    (tmp_path / "captions.txt").write_text("image,caption\na.jpg,x\nb.jpg,y\n", encoding="utf-8")
    with pytest.raises(FileNotFoundError, match=r"1 files are named but not in .*b.jpg is a link that leads nowhere"):
        read_dataset(tmp_path)


def test_a_file_of_a_kind_that_is_not_read_is_not_called_missing(tmp_path):
    touch(tmp_path, "Images/a.jpg")
    (tmp_path / "Images" / "b.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0", encoding="utf-8")
    (tmp_path / "captions.txt").write_text("image,caption\na.jpg,x\nb.eps,y\n", encoding="utf-8")
    with pytest.raises(FileNotFoundError, match=r"\(b.eps\); b.eps is there, but is of no kind that is read here"):
        read_dataset(tmp_path)


def test_a_picture_under_another_suffix_that_a_table_names(tmp_path):
    Image.new("RGB", (4, 4)).save(touch(tmp_path, "x.jpg") / "a.download", "PNG")
    (tmp_path / "t.csv").write_text("image,caption\na.download,x\n", encoding="utf-8")
    assert read_dataset(tmp_path).caption_lists() == {"a": ["x"]}


def test_missing_files_are_left_out_when_asked_and_listed(tmp_path, capsys, outputs):
    touch(tmp_path, "Images/a.jpg")
    (tmp_path / "captions.txt").write_text("image,caption\na.jpg,x\nb.jpg,y\n", encoding="utf-8")
    with pytest.raises(FileNotFoundError, match=r"\(b.jpg\); --skip_unreadable leaves them out"):
        read_dataset(tmp_path)
    assert read_dataset(tmp_path, skip_missing=True).caption_lists() == {"a": ["x"]}
    printed = capsys.readouterr().out
    listed = outputs / "left_out" / f"{tmp_path.name}-Images-missing.csv"
    assert f"left out: captions.txt, line 3 (b.jpg), all in {listed}" in printed
    assert listed.read_text(encoding="utf-8") == 'name,place,number\nb.jpg,"captions.txt, line",3\n'


# Radiographs


@pytest.fixture
def radiographs(tmp_path):
    """IU X-Ray as R2Gen released it: two images a report."""
    studies = {"train": "A", "val": "B", "test": "C"}
    touch(tmp_path, *(f"images/CXR_{study}/{view}.png" for study in studies.values() for view in (0, 1)))
    entries = {
        split: [
            {"id": f"CXR_{study}", "report": f"Heart of {study}. Normal.", "split": split}
            | {"image_path": [f"CXR_{study}/0.png", f"CXR_{study}/1.png"]}
        ]
        for split, study in studies.items()
    }
    (tmp_path / "annotation.json").write_text(json.dumps(entries), encoding="utf-8")
    return tmp_path


def test_a_report_is_the_caption_of_each_image_of_its_study(radiographs):
    data = read_dataset(radiographs)
    assert data.layout == "reports"
    assert split_of(data) == {f"CXR_{s}/{v}": p for s, p in zip("ABC", ("train", "valid", "test")) for v in (0, 1)}
    assert data.caption_lists()["CXR_B/1"] == ["Heart of B. Normal."]


def test_a_study_without_images_is_named(radiographs):
    file = radiographs / "annotation.json"
    file.write_text(file.read_text(encoding="utf-8").replace('["CXR_B/0.png", "CXR_B/1.png"]', "[]"), encoding="utf-8")
    with pytest.raises(
        ValueError, match="annotation.json, 'val' number 1: 'image_path' is a list of file names; it is"
    ):
        read_dataset(radiographs)
