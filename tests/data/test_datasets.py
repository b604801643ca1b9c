import json
import os
import random
from pathlib import Path

from clipknight.data import media
from clipknight.data.datasets import Dataset, image_folder, read_dataset
from clipknight.data.settings import Columns

import pandas as pd
import pytest

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def touch(folder, *names):
    """Empty files: whoever opened one as an image would fail."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text if isinstance(text, str) else json.dumps(text), encoding="utf-8")


def splits(data):
    return dict(zip(data.images["id"], data.images["split"], strict=True))


def flickr(folder, captions=("a.jpg,one", "a.jpg,two", "b.jpg,three"), images=("a.jpg", "b.jpg"), **lists):
    """Flickr8k as on Kaggle; `lists` are the official split lists."""
    touch(folder, *(f"Images/{name}" for name in images))
    write(folder / "captions.txt", "\n".join(["image,caption", *captions, ""]))
    for name, listed in lists.items():
        write(folder / f"Flickr_8k.{name}Images.txt", "".join(f"{image}\n" for image in listed))
    return folder


# Flickr


def test_the_first_images_keep_their_captions(tmp_path):
    folder = flickr(
        tmp_path / "f", ["b.jpg,b one", "a.jpg,a one", "a.jpg,a two", "c.jpg,c"], ["a.jpg", "b.jpg", "c.jpg"]
    )
    part = read_dataset(folder).first(2)
    assert list(part.ids) == ["a", "b"] and part.captions["caption"].tolist() == ["a one", "a two", "b one"]


def test_flickr_with_official_lists(tmp_path):
    images = ["b.jpg", "a.jpg", "sub/a.png", "t.jpg", "left.jpg", "extra.jpg", ".hidden.jpg", "Thumbs.db"]
    captions = ["b.jpg,b one", "a.jpg,a one", "sub/a.png,sub", 'b.jpg,"b, two"', "left.jpg,left"]
    folder = flickr(
        tmp_path / "flickr8k", captions, images, train=["b.jpg", "a.jpg"], dev=["sub/a.png"], test=["t.jpg"]
    )
    data = read_dataset(folder)
    assert (data.name, data.root, data.layout, data.media) == ("flickr8k", folder, "flickr", "image")
    assert data.sample_submission is None and data.has_splits and len(data) == 6
    assert data.images.columns.tolist() == ["id", "path", "split"]
    assert splits(data) == {"a": "train", "b": "train", "extra": "", "left": "", "sub/a": "valid", "t": "test"}
    assert data.images["path"].tolist() == [
        str(folder / "Images" / f"{name}") for name in ["a.jpg", "b.jpg", "extra.jpg", "left.jpg", "sub/a.png", "t.jpg"]
    ]
    assert list(data.captions.itertuples(index=False, name=None)) == [
        ("a", "a one", "a#0"),
        ("b", "b one", "b#0"),
        ("b", "b, two", "b#1"),
        ("left", "left", "left#0"),
        ("sub/a", "sub", "sub/a#0"),
    ]


def test_flickr_without_lists_awaits_a_split(tmp_path):
    data = read_dataset(flickr(tmp_path, images=["a.jpg", "b.jpg", "c.jpg"]))
    assert splits(data) == {"a": "", "b": "", "c": "test"} and not data.has_splits


def test_flickr_with_a_split_column(tmp_path):
    flickr(tmp_path, images=["a.jpg", "b.jpg", "c.jpg", "d.jpg"])
    write(tmp_path / "captions.txt", "image,caption,split\na.jpg,x,Train\na.jpg,y,train\nb.jpg,z,dev\nc.jpg,,test\n")
    data = read_dataset(tmp_path)
    assert splits(data) == {"a": "train", "b": "valid", "c": "test", "d": ""} and len(data.captions) == 3
    write(tmp_path / "Flickr_8k.trainImages.txt", "a.jpg\n")
    with pytest.raises(ValueError, match="names splits twice"):
        read_dataset(tmp_path)


def test_flickr30k_in_its_nested_folders(tmp_path):
    inner = tmp_path / "archive" / "flickr30k_images"
    touch(inner, "flickr30k_images/1.jpg", "flickr30k_images/2.jpg")
    write(inner / "results.csv", "image_name| comment_number| comment\n1.jpg| 0| A dog .\n2.jpg| 4   A cat .\n")
    data = read_dataset(tmp_path / "archive")
    assert (data.name, data.root, data.layout) == ("archive", inner, "flickr")
    assert data.caption_lists() == {"1": ["A dog ."], "2": ["A cat ."]}
    os.rename(inner / "results.csv", tmp_path / "archive" / "results.csv")
    data = read_dataset(tmp_path / "archive")
    assert data.ids.tolist() == ["1", "2"] and data.root == tmp_path / "archive"


def test_images_beside_the_table_and_images_elsewhere(tmp_path):
    touch(tmp_path / "beside", "a.jpg")
    write(tmp_path / "beside" / "captions.csv", "image,caption\na.jpg,x\n")
    assert read_dataset(tmp_path / "beside").images["path"].tolist() == [str(tmp_path / "beside" / "a.jpg")]
    flickr(tmp_path / "flickr", images=["a.jpg", "b.jpg"])
    touch(tmp_path / "large", "a.jpg", "b.jpg")
    data = read_dataset(tmp_path / "flickr", images=tmp_path / "large")
    assert data.images["path"].tolist() == [str(tmp_path / "large" / name) for name in ("a.jpg", "b.jpg")]
    with pytest.raises(FileNotFoundError, match="larg does not exist; did you mean large"):
        read_dataset(tmp_path / "flickr", images=tmp_path / "larg")


def test_two_caption_tables_are_too_many(tmp_path):
    write(flickr(tmp_path) / "captions.csv", "image,caption\na.jpg,x\n")
    with pytest.raises(ValueError, match="has captions.txt, captions.csv; give the path of the one to read"):
        read_dataset(tmp_path)
    assert read_dataset(tmp_path / "captions.csv").layout == "table"


# The competition


def competition(folder, prompts, images, submission=None):
    touch(folder, *(f"images/{image}.png" for image in images))
    if prompts is not None:
        write(folder / "prompts.csv", "imgId,prompt\n" + "".join(f"{id},a picture of {id}\n" for id in prompts))
    if submission is not None:
        rows = "".join(f"{id}_{n},0.1\n" for id in submission for n in range(384))
        write(folder / "sample_submission.csv", "imgId_eId,val\n" + rows)
    return folder


def test_competition_as_given(tmp_path):
    data = read_dataset(competition(tmp_path, ["20057f34d", "92e911621"], ["20057f34d", "92e911621"], ["20057f34d"]))
    assert data.layout == "competition" and data.sample_submission == tmp_path / "sample_submission.csv"
    assert splits(data) == {"20057f34d": "", "92e911621": ""} and not data.has_splits
    assert data.captions["caption"].tolist() == ["a picture of 20057f34d", "a picture of 92e911621"]


def test_competition_images_without_a_prompt_are_test(tmp_path):
    data = read_dataset(competition(tmp_path / "a", ["007"], ["007", "1e5", "2_1"], ["1e5", "2_1"]))
    assert splits(data) == {"007": "", "1e5": "test", "2_1": "test"}
    data = read_dataset(competition(tmp_path / "b", ["007"], ["007", "1e5"]))
    assert splits(data) == {"007": "", "1e5": "test"} and data.sample_submission is None
    data = read_dataset(competition(tmp_path / "c", None, ["007"], ["007"]))
    assert splits(data) == {"007": "test"} and data.captions.empty and data.caption_lists() == {}


def test_competition_sample_that_lists_a_missing_image(tmp_path):
    competition(tmp_path, ["a"], ["a"], ["a", "gone"])
    with pytest.raises(FileNotFoundError, match=r"sample_submission.csv, image number 2 \(gone\)"):
        read_dataset(tmp_path)


# JSON


def coco(folder, place="{part}/"):
    for part, ids in {"train2014": [2, 1], "val2014": [3]}.items():
        files = {id: f"COCO_{part}_{id:012d}.jpg" for id in ids}
        touch(folder, *(place.format(part=part) + file for file in files.values()))
        images = [{"id": id, "file_name": file, "height": 1} for id, file in files.items()]
        said = [{"id": 10 * id + n, "image_id": id, "caption": f"{id} {n}"} for n in range(2) for id in ids]
        write(folder / "annotations" / f"captions_{part}.json", {"images": images, "annotations": said})
    write(folder / "annotations" / "instances_val2014.json", "not read")
    return folder


@pytest.mark.parametrize("place, ids", [("{part}/", True), ("images/{part}/", True), ("images/", False)])
def test_coco_with_its_images_in_the_usual_places(tmp_path, place, ids):
    data = read_dataset(coco(tmp_path, place))
    folder = {"train": "train2014/" if ids else "", "val": "val2014/" if ids else ""}
    first, second = (f"{folder['train']}COCO_train2014_{n:012d}" for n in (1, 2))
    third = f"{folder['val']}COCO_val2014_{3:012d}"
    assert data.layout == "coco" and splits(data) == {first: "train", second: "train", third: "valid"}
    assert data.caption_lists() == {first: ["1 0", "1 1"], second: ["2 0", "2 1"], third: ["3 0", "3 1"]}
    assert all(Path(path).is_file() for path in data.images["path"])


@pytest.mark.parametrize("place", ["elsewhere/{part}/", "elsewhere/"])
def test_coco_with_its_images_elsewhere_or_one_part_alone(tmp_path, place):
    coco(tmp_path, place)
    assert len(read_dataset(tmp_path, images=tmp_path / "elsewhere")) == 3
    part = tmp_path / "annotations" / "captions_val2014.json"
    assert set(splits(read_dataset(part, images=tmp_path / "elsewhere")).values()) == {"valid"}


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda d: d["annotations"].append({"id": 9, "image_id": 8, "caption": "x"}), "captions of image id 8, but no"),
        (lambda d: d["images"].append(d["images"][0]), "image id 3 twice"),
        (lambda d: d["annotations"][0].update(caption=" "), r"captions_val2014.json, annotation id 30 \(val2014/COCO"),
        (lambda d: d["annotations"][0].update(caption=None), "needs 'annotations', a list of records that each have"),
        (lambda d: d.pop("images"), "needs 'images', a list of records"),
        (lambda d: d["annotations"].clear(), "needs 'annotations'"),
    ],
)
def test_coco_files_that_do_not_hold_together(tmp_path, change, message):
    path = coco(tmp_path) / "annotations" / "captions_val2014.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    write(path, content)
    with pytest.raises(ValueError, match=message):
        read_dataset(tmp_path)


def test_broken_json_says_where(tmp_path):
    write(coco(tmp_path) / "annotations" / "captions_val2014.json", '{"images": [\n1,,\n]}')
    with pytest.raises(ValueError, match="captions_val2014.json, line 2: broken JSON"):
        read_dataset(tmp_path)


def karpathy(folder):
    entries = [
        ("train2014", "c.jpg", "restval", ["c one", "c two"]),
        ("val2014", "b.jpg", "val", ["b one"]),
        ("val2014", "a.jpg", "test", []),
        ("train2014", "d.jpg", "train", ["d one"]),
    ]
    touch(folder, *(f"images/{place}/{file}" for place, file, _, _ in entries), "images/train2014/unlisted.jpg")
    images = [
        {
            "filepath": place,
            "filename": file,
            "split": split,
            "sentences": [{"raw": text, "tokens": []} for text in said],
        }
        for place, file, split, said in entries
    ]
    write(folder / "dataset_coco.json", {"dataset": "coco", "images": images})
    return folder


def test_karpathy_splits(tmp_path):
    data = read_dataset(karpathy(tmp_path))
    assert data.layout == "karpathy" and data.has_splits
    assert splits(data) == {
        "train2014/c": "train",
        "train2014/d": "train",
        "val2014/a": "test",
        "val2014/b": "valid",
    }
    assert data.caption_lists() == {"train2014/c": ["c one", "c two"], "train2014/d": ["d one"], "val2014/b": ["b one"]}
    assert splits(read_dataset(tmp_path / "dataset_coco.json")) == splits(data)


def test_karpathy_without_filepath_goes_before_the_captions_beside_it(tmp_path):
    flickr(tmp_path)
    image = {"filename": "a.jpg", "split": "test", "sentences": [{"raw": "said"}]}
    write(tmp_path / "dataset_flickr8k.json", {"images": [image]})
    data = read_dataset(tmp_path)
    assert data.layout == "karpathy" and splits(data) == {"a": "test"} and data.caption_lists() == {"a": ["said"]}
    write(tmp_path / "dataset_flickr8k.json", {"images": [image | {"split": "trian"}]})
    with pytest.raises(ValueError, match="dataset_flickr8k.json, image number 1: the split 'trian' is none of train"):
        read_dataset(tmp_path)
    write(tmp_path / "dataset_flickr8k.json", {"images": [{"filename": "a.jpg", "sentences": []}]})
    with pytest.raises(ValueError, match="dataset_flickr8k.json needs 'images', .* in number 1 'split' is missing"):
        read_dataset(tmp_path)


def test_recognition_is_by_content(tmp_path):
    write(flickr(tmp_path) / "dataset_info.json", {"features": {}})
    for other in (["not a mapping"], {"a.jpg": "no list"}, {}):
        write(tmp_path / "captions.json", other)
        assert read_dataset(tmp_path).layout == "flickr"


# Tables


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_one_table_alone_says_which_images_there_are(tmp_path, suffix, monkeypatch):
    touch(tmp_path, "photos/x/a.jpg", "photos/x/unlisted.jpg", "photos/b.png", "photos/c.webp")
    frame = pd.DataFrame(
        {
            "file": ["x/a.jpg", "b.png", "x/a.jpg", "c.webp"],
            "text": ["one", "b", "two", ""],
            "fold": [*["train"] * 3, "test"],
        }
    )
    if suffix == ".parquet":
        frame.to_parquet(tmp_path / "t.parquet")
    else:
        frame.to_csv(tmp_path / f"t{suffix}", index=False, sep="\t" if suffix == ".tsv" else ",")
    monkeypatch.setattr(media, "walk", None)  # only the folders that the table names are listed
    for path in (tmp_path, tmp_path / f"t{suffix}"):
        data = read_dataset(path, Columns("file", "text", "fold"))
        assert data.layout == "table" and splits(data) == {"b": "train", "c": "test", "x/a": "train"}
        assert data.caption_lists() == {"b": ["b"], "x/a": ["one", "two"]}
    assert data.name == f"{tmp_path.name}-t"


def test_table_with_paths_that_are_not_plain(tmp_path):
    touch(tmp_path, "data/pics/a.jpg", "data/pics/b.jpg", "other/c.jpg")
    rows = ["./pics/a.jpg,a", "pics\\b.jpg,b"]
    write(tmp_path / "data" / "t.csv", "\n".join(["image,caption", *rows]))
    assert read_dataset(tmp_path / "data").ids.tolist() == ["pics/a", "pics/b"]
    rows += ["../other/c.jpg,c", f"{tmp_path}/data/pics/a.jpg,again"]
    write(tmp_path / "data" / "t.csv", "\n".join(["image,caption", *rows]))
    data = read_dataset(tmp_path / "data")
    assert data.caption_lists() == {"data/pics/a": ["a", "again"], "data/pics/b": ["b"], "other/c": ["c"]}
    assert all(Path(path).is_file() for path in data.images["path"])


def test_table_names_without_suffix(tmp_path):
    touch(tmp_path, "images/v1.5.jpg", "images/2.png")
    write(tmp_path / "t.csv", "image,caption\nv1.5,x\n2,y\n")
    assert read_dataset(tmp_path).caption_lists() == {"2": ["y"], "v1.5": ["x"]}


def test_a_sample_submission_beside_another_table(tmp_path):
    competition(tmp_path, None, ["a", "b"], ["b"])
    write(tmp_path / "mine.csv", "image,caption,split\na.png,x,train\nb.png,,test\n")
    data = read_dataset(tmp_path)
    assert data.layout == "table" and splits(data) == {"a": "train", "b": "test"}
    assert data.sample_submission == tmp_path / "sample_submission.csv"


# Videos


def test_video_table(tmp_path):
    touch(tmp_path, "clips/a.mp4", "clips/b.gif", "clips/c.avi", "clips/c.jpg")
    write(tmp_path / "captions.csv", "video,caption\na.mp4,x\nb.gif,y\n")
    data = read_dataset(tmp_path)
    assert (data.layout, data.media) == ("video", "video") and splits(data) == {"a": "", "b": "", "c": "test"}


def test_captions_json(tmp_path):
    touch(tmp_path / "msvd", "b.avi", "a.gif", "b-poster.jpg")
    write(tmp_path / "msvd" / "captions.json", {"b.avi": ["one", "two"], "a.gif": ["three"]})
    data = read_dataset(tmp_path / "msvd")
    assert data.media == "video" and data.ids.tolist() == ["a", "b"]
    assert data.caption_lists() == {"a": ["three"], "b": ["one", "two"]}
    touch(tmp_path / "pictures", "images/b.jpg", "images/a.gif")
    write(tmp_path / "pictures" / "captions.json", {"b.jpg": ["one"], "a.gif": [" "]})
    with pytest.raises(ValueError, match=r"1 captions are empty: captions.json, caption number 2 \(a.gif\)"):
        read_dataset(tmp_path / "pictures")
    write(tmp_path / "pictures" / "captions.json", {"b.jpg": ["one"], "a.gif": []})
    data = read_dataset(tmp_path / "pictures")
    assert data.media == "image" and splits(data) == {"a": "test", "b": ""}


@pytest.mark.parametrize(
    "place, ids",
    [({"train": "videos/all", "test": "videos/all"}, ""), ({"train": "TrainValVideo", "test": "TestVideo"}, "in")],
)
def test_msrvtt(tmp_path, place, ids):
    touch(tmp_path, *(f"{place['train']}/video{n}.mp4" for n in (0, 1, 99)), f"{place['test']}/video2.mp4")
    for file, chosen in {"train_val": [(0, "train"), (1, "validate")], "test": [(2, "test")]}.items():
        videos = [{"video_id": f"video{n}", "split": split, "id": n} for n, split in chosen]
        said = [
            {"video_id": f"video{n}", "caption": f"{n} {k}", "sen_id": k} for k in range(2) for n, _ in reversed(chosen)
        ]
        write(tmp_path / f"{file}_videodatainfo.json", {"videos": videos, "sentences": said})
    data = read_dataset(tmp_path)
    train, test = ("TrainValVideo/", "TestVideo/") if ids else ("", "")
    assert data.media == "video"
    assert splits(data) == {f"{train}video0": "train", f"{train}video1": "valid", f"{test}video2": "test"}
    assert data.caption_lists()[f"{train}video1"] == ["1 0", "1 1"]
    (tmp_path / place["train"] / "video1.mp4").unlink()
    with pytest.raises(FileNotFoundError, match=r"train_val_videodatainfo.json, sentence number 1 \(video1\)"):
        read_dataset(tmp_path)


# Folders


@pytest.mark.parametrize(
    "file, content",
    [
        ("dataset_x.json", {"images": [{"filename": "a.png", "split": "test", "sentences": [{"raw": "x"}]}]}),
        ("captions.json", {"a.png": ["x"]}),
        ("sample_submission.csv", "imgId_eId,val\na_0,0\n"),
        ("prompts.csv", "imgId,prompt\na,x\n"),
        ("table.csv", "image,caption\na.png,x\n"),
    ],
)
def test_the_image_folder_may_be_named(tmp_path, file, content):
    write(tmp_path / "data" / file, content)
    touch(tmp_path / "elsewhere", "a.png")
    with pytest.raises(FileNotFoundError, match=r"none of the files tried \(a\S* is in .*data; say where they are"):
        read_dataset(tmp_path / "data")
    data = read_dataset(tmp_path / "data", images=tmp_path / "elsewhere")
    assert data.images["path"].tolist() == [str(tmp_path / "elsewhere" / "a.png")]


def test_image_folder(tmp_path):
    touch(tmp_path, "b.JPG", "sub/a.png", "notes.txt", ".cache/c.jpg", "sub/clip.mp4")
    os.symlink(tmp_path, tmp_path / "sub" / "loop")
    data = image_folder(tmp_path)
    assert data.layout == "images" and splits(data) == {"b": "test", "sub/a": "test"} and data.captions.empty
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no image in .*empty \(.*\.jpg"):
        image_folder(tmp_path / "empty")


def test_a_folder_that_cannot_be_read_is_not_passed_over(tmp_path, monkeypatch):
    touch(tmp_path, "a.jpg", "locked/b.jpg")
    scan = os.scandir

    def deny(folder):
        if str(folder).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(folder))
        return scan(folder)

    monkeypatch.setattr(os, "scandir", deny)
    with pytest.raises(PermissionError, match="locked"):
        image_folder(tmp_path)


def test_a_folder_in_no_known_layout_says_what_was_looked_for_and_found(tmp_path):
    touch(tmp_path, "pictures/a.jpg", "notes.md")
    with pytest.raises(ValueError) as error:
        read_dataset(tmp_path)
    for words in ("no known layout", "Found: notes.md, pictures", "captions.txt", "prompts.csv", "captions_*.json"):
        assert words in str(error.value)
    with pytest.raises(ValueError, match="notes.md is in no known layout"):
        read_dataset(tmp_path / "notes.md")


def test_a_missing_folder_names_its_neighbours(tmp_path):
    (tmp_path / "flickr8k").mkdir()
    with pytest.raises(FileNotFoundError, match="flicker8k does not exist; did you mean flickr8k"):
        read_dataset(tmp_path / "flicker8k")
    with pytest.raises(FileNotFoundError, match="and neither does"):
        image_folder(tmp_path / "no" / "where")


# What cannot be right


def test_captions_of_images_that_are_not_there(tmp_path):
    flickr(tmp_path, ["a.jpg,x", *(f"gone{n}.jpg,x" for n in range(7)), "gone0.jpg,y"], ["a.jpg"])
    message = (
        r"7 files are named but not in .*Images: captions.txt, line 3 \(gone0.jpg\).*line 7 .* and 2 more; --skip_"
    )
    with pytest.raises(FileNotFoundError, match=message):
        read_dataset(tmp_path)
    flickr(tmp_path / "none", images=[])
    with pytest.raises(FileNotFoundError, match=r"none of the files tried \(a.jpg, .*\) is in .*none"):
        read_dataset(tmp_path / "none")


def test_names_that_no_file_can_have(tmp_path):
    touch(tmp_path, "a.jpg")
    write(tmp_path / "t.csv", f"image,caption\n{'a dog ' * 100},x\n")
    with pytest.raises(FileNotFoundError, match="none of the files tried"):
        read_dataset(tmp_path)


def test_lists_that_name_images_that_are_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"1 files .*Flickr_8k.testImages.txt, line 2 \(gone.jpg\)"):
        read_dataset(flickr(tmp_path, test=["a.jpg", "gone.jpg"]))


@pytest.mark.parametrize("split", ["train", "dev"])
def test_images_to_learn_from_need_captions(tmp_path, split):
    with pytest.raises(ValueError, match="1 train or valid images have no caption: bare"):
        read_dataset(flickr(tmp_path, images=["a.jpg", "b.jpg", "bare.jpg"], **{split: ["a.jpg", "bare.jpg"]}))


def test_files_with_one_id(tmp_path):
    with pytest.raises(ValueError, match="differ in their suffix alone have one id: .*b.jpg, b.png"):
        read_dataset(flickr(tmp_path, images=["a.jpg", "b.jpg", "b.png"]))


@pytest.mark.parametrize(
    "lists, places",
    [
        ({"train": ["a.jpg", "a.jpg"]}, ["trainImages.txt, line 1 (a.jpg)", "trainImages.txt, line 2 (a.jpg)"]),
        ({"train": ["a.jpg"], "dev": ["b.jpg", "a.jpg"]}, ["trainImages.txt, line 1 (a.jpg)", "devImages.txt, line 2"]),
    ],
)
def test_images_listed_twice(tmp_path, lists, places):
    with pytest.raises(ValueError, match="in one split, once") as error:
        read_dataset(flickr(tmp_path, **lists))
    assert all(place in str(error.value) for place in places) and "b.jpg" not in str(error.value)


def test_a_table_with_one_image_in_two_splits(tmp_path):
    touch(tmp_path, "a.jpg")
    write(tmp_path / "t.csv", "image,caption,split\na.jpg,x,train\na.jpg,y,train\na.jpg,z,test\n")
    with pytest.raises(ValueError, match=r"in one split, once.*t.csv, line 2 \(a.jpg\), t.csv, line 4 \(a.jpg\)"):
        read_dataset(tmp_path)


def test_empty_captions(tmp_path):
    flickr(tmp_path, ["a.jpg,x", "a.jpg,", 'b.jpg," \t"'])
    with pytest.raises(ValueError, match=r"2 captions are empty: captions.txt, line 3 \(a.jpg\), captions.txt, line 4"):
        read_dataset(tmp_path)


def test_any_text_survives(tmp_path):
    said = ["a, b", 'she said "no"', "two\nlines", "漢字 שלום é 🐕", "NA", "  spaces  "]
    touch(tmp_path, "images/한국.jpg")
    frame = pd.DataFrame({"image": "한국.jpg", "caption": said})
    frame.to_csv(tmp_path / "captions.csv", index=False, encoding="utf-8-sig", lineterminator="\r\n")
    assert read_dataset(tmp_path).caption_lists() == {"한국": said}


# The dataset


@pytest.fixture
def data(tmp_path) -> Dataset:
    names = [f"{n:02d}.jpg" for n in range(12)]
    rows = [f"{name},{name} {k}" for k in range(3) for name in names[:10]]
    random.Random(0).shuffle(rows)
    return read_dataset(flickr(tmp_path, rows, names, train=names[:6], dev=names[6:9], test=names[10:]))


def test_a_split_holds_its_rows_only(data):
    valid = data.split("valid")
    assert valid.ids.tolist() == ["06", "07", "08"] and valid.images.index.tolist() == [0, 1, 2]
    assert set(valid.captions["id"]) == {"06", "07", "08"} and valid.captions.index.tolist() == list(range(9))
    assert data.split("").ids.tolist() == ["09"] and data.split("test").captions.empty
    assert (valid.name, valid.root, valid.layout) == (data.name, data.root, data.layout)
    with pytest.raises(ValueError, match="no split 'dev'; 'train', 'valid', 'test'"):
        data.split("dev")


def test_captions_keep_file_order_within_an_image_and_images_are_in_order(data):
    written = [line.split(",") for line in (data.root / "captions.txt").read_text(encoding="utf-8").splitlines()[1:]]
    expected = {f"{n:02d}": [text for name, text in written if name == f"{n:02d}.jpg"] for n in range(10)}
    lists = data.caption_lists()
    assert list(lists.items()) == list(expected.items())
    assert data.captions["caption_id"].tolist() == [f"{n:02d}#{k}" for n in range(10) for k in range(3)]
    assert data.ids.tolist() == sorted(data.ids) and all(type(id) is str for id in data.ids)


def test_required_captions(data):
    assert data.require_captions("valid").ids.tolist() == ["06", "07", "08"]
    with pytest.raises(ValueError, match="2 of 2 test images of .* have no caption: 10, 11"):
        data.require_captions("test")
    with pytest.raises(ValueError, match="has no image in 'train'"):
        data.split("valid").require_captions("train")


def test_with_split(data):
    new = data.with_split(pd.Series({"09": "valid", "00": "test", "10": ""}))
    assert {k: v for k, v in splits(new).items() if splits(data)[k] != v} == {"09": "valid", "00": "test", "10": ""}
    assert splits(data)["09"] == "" and new.captions is data.captions
    assert splits(data.with_split({})) == splits(data)
    with pytest.raises(KeyError, match="1 ids are not in .*: zz"):
        data.with_split({"zz": "train"})
    with pytest.raises(ValueError, match="no split dev"):
        data.with_split({"09": "dev"})
    with pytest.raises(ValueError, match="1 train or valid images have no caption: 10"):
        data.with_split({"10": "train"})


def test_summary(data):
    counts = "12 images (train 6, valid 3, test 2, in no split 1), 30 captions"
    assert data.summary() == f"{data.name} (flickr): {counts}"


# Real data


@pytest.mark.skipif(not (SHARED / "flickr8k").is_dir(), reason="needs Flickr8k")
def test_flickr8k():
    data = read_dataset(SHARED / "flickr8k")
    assert data.images["split"].value_counts().to_dict() == {"train": 6000, "valid": 1000, "test": 1000, "": 91}
    assert len(data.captions) == 35_455 and len(data.split("train").captions) == 30_000
    assert set(map(len, data.caption_lists().values())) == {5} and data.split("test").captions.empty
    said = data.caption_lists()["1000268201_693b08cb0e"]
    assert said[0] == "A child in a pink dress is climbing up a set of stairs in an entry way ."


@pytest.mark.skipif(not (SHARED / "msvd_clips").is_dir(), reason="needs MSVD's clips")
def test_msvd_clips():
    data = read_dataset(SHARED / "msvd_clips")
    assert data.media == "video" and len(data) == 5 and sorted(map(len, data.caption_lists().values()))[0] >= 29
