import json
import os
from pathlib import Path

from clipknight.data.result_files import (
    by_known_id,
    one_an_image,
    read_captions,
    references_of,
    rows_of_images,
    write_captions,
)

import numpy as np
import pandas as pd
import pytest


def written(tmp_path, data, name="captions.json"):
    path = tmp_path / name
    path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    return path


def pairs(path):
    rows = read_captions(path)
    return list(zip(rows["name"], rows["caption"]))


def test_tables(tmp_path):
    path = written(tmp_path, 'image,caption\na.jpg,"one, two"\na.jpg,\n', "c.csv")
    assert pairs(path) == [("a.jpg", "one, two"), ("a.jpg", "")]
    assert pairs(written(tmp_path, "video\tcaption\nv.avi\tone\n", "c.tsv")) == [("v.avi", "one")]


def test_coco_results(tmp_path):
    entries = [{"image_id": 7, "caption": "one", "score": 1}, {"image_id": "sub/a", "caption": ""}]
    assert pairs(written(tmp_path, entries)) == [("7", "one"), ("sub/a", "")]


def test_coco_annotations(tmp_path):
    annotations = [{"id": n, "image_id": n % 2, "caption": text} for n, text in enumerate("abc")]
    images = [{"id": n, "file_name": f"COCO_{n}.jpg"} for n in (0, 1, 2)]
    rows = read_captions(written(tmp_path, {"images": images, "annotations": annotations}))
    assert rows["name"].tolist() == ["0", "1", "0"] and rows["caption"].tolist() == ["a", "b", "c"]
    assert rows["file"].tolist() == ["COCO_0.jpg", "COCO_1.jpg", "COCO_0.jpg"]
    for incomplete in ({"annotations": annotations}, {"images": [{"id": 0}], "annotations": annotations}):
        assert "file" not in read_captions(written(tmp_path, incomplete))


def test_lists_by_file(tmp_path):
    path = written(tmp_path, {"v.avi": ["one", "two"], "w.gif": "three"})
    assert pairs(path) == [("v.avi", "one"), ("v.avi", "two"), ("w.gif", "three")]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([{"image_id": 1, "caption": "a"}, {"image_id": 2}, 5], "in number 2 'caption' is missing"),
        ([{"image_id": 1, "caption": None}], "in number 1 'caption' is null"),
        ({"annotations": [{"id": 1, "caption": "a"}]}, "in number 1 'image_id' is missing"),
        ({"v.avi": ["one", 2], "w.avi": [], "x.avi": ["three"]}, "no captions at 'v.avi': a list of 2. Forms"),
        ("7", "holds 7. Forms that are read: COCO results"),
        ([], "has no captions"),
        ({}, "has no captions"),
        ('{"a": [', "line 1: broken JSON"),
    ],
)
def test_other_json_is_an_error(tmp_path, data, message):
    with pytest.raises(ValueError, match=f"captions.json.*{message}"):
        read_captions(written(tmp_path, data))


def test_one_an_image(tmp_path):
    rows = read_captions(written(tmp_path, {"a": "one", "b": ["two"]}))
    assert one_an_image(rows, "c.json").to_dict() == {"a": "one", "b": "two"}
    rows = read_captions(written(tmp_path, {"a": ["one", "two"], "b": ["three"]}))
    with pytest.raises(ValueError, match="c.json has several captions of 1 images, not one each: a"):
        one_an_image(rows, "c.json")


def test_rows_of_images():
    ids = np.array(["sub/a.JPG", "clip", "7"], dtype=object)
    names = pd.Series(["clip.avi", "sub\\a.jpg", "7", "clip.txt", "sub/a"])
    assert rows_of_images(ids, names).tolist() == [1, 0, 2, -1, 0]
    with pytest.raises(ValueError, match="differ in their suffix alone: a"):
        rows_of_images(np.array(["a.gif", "a.mp4"]), pd.Series(["a"]))


def test_karpathys_and_msrvtts_json_as_references(tmp_path):
    image = {"filename": "COCO_7.jpg", "filepath": "val2014", "cocoid": 7, "split": "test"}
    path = written(tmp_path, {"images": [image | {"sentences": [{"raw": "one"}, {"raw": "two"}]}]}, "dataset_coco.json")
    for name in ("COCO_7", "COCO_7.jpg", "val2014/COCO_7", "7"):
        rows, left_out = references_of(np.array([name], dtype=object), "c.json", path)
        assert rows["caption"].tolist() == ["one", "two"] and left_out == 0
    said = [{"video_id": f"video{n}", "caption": f"clip {n}", "sen_id": n} for n in (0, 1)]
    path = written(tmp_path, {"videos": [], "sentences": said}, "test_videodatainfo.json")
    assert pairs(path) == [("video0", "clip 0"), ("video1", "clip 1")]


def test_names_in_another_unicode_form_are_the_same():
    ids, names = np.array(["cafe\u0301.jpg", "b"], dtype=object), pd.Series(["caf\u00e9.jpg", "b"])
    assert rows_of_images(ids, names).tolist() == [0, 1]


def test_half_a_character_is_named_with_its_place(tmp_path):
    path = written(tmp_path, '[{"image_id": 1, "caption": "a dog \\ud83d"}]')
    with pytest.raises(ValueError, match="captions.json, number 1, caption: .*half a character"):
        read_captions(path)


def test_references_by_file_name(tmp_path):
    data = {
        "images": [{"id": n, "file_name": f"COCO_{n}.jpg"} for n in (0, 1)],
        "annotations": [{"image_id": n, "caption": f"caption {n}"} for n in (1, 0, 1)],
    }
    path = written(tmp_path, data)
    for ids in (["0", "1"], ["COCO_0", "COCO_1"]):
        rows, left_out = references_of(np.array(ids, dtype=object), "c.csv", path)
        assert rows["at"].tolist() == [1, 0, 1] and left_out == 0
    rows, left_out = references_of(np.array(["COCO_1.jpg"], dtype=object), "c.csv", path, allow_partial=True)
    assert rows["caption"].tolist() == ["caption 1", "caption 1"] and left_out == 1


def test_captions_by_known_id():
    captions = pd.Series({"a.jpg": "one", "b": "two"}, dtype="str")
    ids = np.array(["c", "b.png", "a"], dtype=object)
    assert by_known_id(captions, ids, "folder") == {"a": "one", "b.png": "two"}
    with pytest.raises(ValueError, match="1 captioned images are not in folder: b"):
        by_known_id(captions, ids[2:], "folder")
    with pytest.raises(ValueError, match="captions of one image of folder: a.jpg, a"):
        by_known_id(pd.Series({"a.jpg": "one", "a": "two"}, dtype="str"), ids, "folder")


@pytest.mark.parametrize("name", ["coco_fakecap/references.json", "msvd_clips/captions.json"])
def test_known_files(name):
    path = Path(__file__).resolve().parents[3] / "shared" / "data" / name
    if not path.is_file():
        pytest.skip(f"needs {name}")
    counts = read_captions(path).groupby("name").size()
    assert (len(counts), counts.min()) == ((1000, 5) if "coco" in name else (5, 29))


def test_confidences_are_a_third_column(tmp_path):
    captions, sure = {"a.jpg": "a dog", "b.jpg": "a cat"}, {"a.jpg": 0.61, "b.jpg": 0.4}
    write_captions(captions, tmp_path / "c.csv", confidences=sure)
    assert (tmp_path / "c.csv").read_text(
        encoding="utf-8"
    ) == "image,caption,confidence\na.jpg,a dog,0.61\nb.jpg,a cat,0.4\n"
    assert read_captions(tmp_path / "c.csv")["caption"].tolist() == ["a dog", "a cat"]
    write_captions(captions, tmp_path / "c.json", confidences=sure)
    assert json.loads((tmp_path / "c.json").read_text(encoding="utf-8"))[1]["confidence"] == 0.4


def test_written_captions_are_read_again(tmp_path):
    captions = {"a.jpg": 'A "red" dog, running', "b.jpg": "two cats"}
    for name in ("captions.csv", "captions.json"):
        write_captions(captions, tmp_path / name, {"a.jpg": {"neighbours": [["a dog", 0.5]]}})
        rows = read_captions(tmp_path / name)
        assert dict(zip(rows["name"], rows["caption"], strict=True)) == captions
    first, second = json.loads((tmp_path / "captions.json").read_text(encoding="utf-8"))
    assert first["neighbours"] == [["a dog", 0.5]] and set(second) == {"image_id", "caption"}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
@pytest.mark.parametrize("name", ["pipe.csv", "pipe.json", "pipe.parquet", "pipe.txt"])
def test_a_pipe_is_refused_before_anything_waits_for_it(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(
        ValueError, match=f"{name} is a pipe or a device, which can't be read twice: save what it gives"
    ):
        read_captions(tmp_path / name)
