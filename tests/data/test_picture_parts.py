"""Pictures part by part: from folders, archives and URLs, with ids that do not depend on where they lie."""

import io
import shutil
import tarfile

from clipknight.data.picture_parts import archives_of, listing_digest, picture_parts

import fsspec
import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image


def picture(shade):
    content = io.BytesIO()
    Image.new("RGB", (4, 4), (shade, 0, 0)).save(content, "png")
    return content.getvalue()


def write_tar(path, shades):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for shade in shades:
            member = tarfile.TarInfo(f"{shade:03d}.png")
            member.size = len(picture(shade))
            archive.addfile(member, io.BytesIO(picture(shade)))
    return path


@pytest.fixture
def tars(tmp_path):
    write_tar(tmp_path / "tars" / "b.tar", [3, 4])
    write_tar(tmp_path / "tars" / "a.tar", [1, 2, 3])
    return tmp_path / "tars"


def read(parts):
    """Ids and the red of each picture, part by part."""
    found = []
    for part in parts:
        with part.opened() as dataset:
            reds = [Image.open(path).getpixel((0, 0))[0] for path in dataset.images["path"]]
            found.append((part.name, dict(zip(dataset.images["id"], reds))))
    return found


def halves(count):
    return [(0, count // 2), (count // 2, count)]


IN_PARTS = [("00000-a", {"a/001": 1, "a/002": 2, "a/003": 3}), ("00001-b", {"b/003": 3, "b/004": 4})]


def test_each_archive_of_a_folder_is_a_part(tars):
    assert read(picture_parts(str(tars), halves)) == IN_PARTS


def test_the_same_at_a_url(tars):
    store = fsspec.filesystem("memory")
    store.put(str(tars), "/bucket/tars", recursive=True)
    assert read(picture_parts("memory://bucket/tars", halves)) == IN_PARTS
    assert read(picture_parts("memory://bucket/tars/b.tar", halves)) == [("00000-b", {"003": 3, "004": 4})]
    with pytest.raises(OSError, match="memory://bucket/none cannot be|no such file"):
        picture_parts("memory://bucket/none", halves)


def test_pictures_at_a_url_are_listed_once(tmp_path, monkeypatch):
    store = fsspec.filesystem("memory")
    for shade in (1, 2, 3, 4):
        store.pipe_file(f"/bucket/photos/{shade}.png", picture(shade))
    listed = []
    monkeypatch.setattr(type(store), "find", lambda *args, **options: listed.append(args[1]) or find(*args, **options))
    assert read(picture_parts("memory://bucket/photos", halves)) == [
        ("00000", {"1": 1, "2": 2}),
        ("00001", {"3": 3, "4": 4}),
    ]
    assert listed == ["/bucket/photos"]


find = fsspec.get_filesystem_class("memory").find


def test_an_archive_by_itself_has_ids_without_its_name(tars):
    assert read(picture_parts(str(tars / "b.tar"), halves)) == [("00000-b", {"003": 3, "004": 4})]


def test_parquet_files_need_no_captions(tmp_path):
    for name, shades in {"train-0": [1, 2], "train-1": [3]}.items():
        images = [{"bytes": picture(shade), "path": f"{shade}.png"} for shade in shades]
        pyarrow.parquet.write_table(pa.table({"image": images}), tmp_path / f"{name}.parquet")
    assert read(picture_parts(str(tmp_path), halves)) == [
        ("00000-train-0", {"train-0/1": 1, "train-0/2": 2}),
        ("00001-train-1", {"train-1/3": 3}),
    ]


def test_archives_in_several_folders_are_named_below_the_one_that_holds_them(tmp_path):
    for split, shade in {"train": 1, "test": 2}.items():
        (folder := tmp_path / "default" / split).mkdir(parents=True)
        rows = pa.table({"image": [{"bytes": picture(shade), "path": "x.png"}]})
        pyarrow.parquet.write_table(rows, folder / "0000.parquet")
    assert read(picture_parts(str(tmp_path), halves)) == [
        ("00000-0000", {"test/0000/x": 2}),
        ("00001-0000", {"train/0000/x": 1}),
    ]


def test_a_folder_of_pictures_is_cut(tmp_path):
    for shade in (1, 2, 3, 4):
        (tmp_path / f"{shade}.png").write_bytes(picture(shade))
    assert archives_of(str(tmp_path)) == []
    assert read(picture_parts(str(tmp_path), halves)) == [("00000", {"1": 1, "2": 2}), ("00001", {"3": 3, "4": 4})]


def test_the_digest_changes_with_the_files(tars):
    before = listing_digest(picture_parts(str(tars), halves))
    assert listing_digest(picture_parts(str(tars), halves)) == before
    shutil.copy(tars / "a.tar", tars / "c.tar")
    assert listing_digest(picture_parts(str(tars), halves)) != before
