import io
import os
import tarfile
import zipfile
from pathlib import Path

from clipknight.data.folders import walk
from clipknight.data.media_sources import find_media

import fsspec
import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


@pytest.fixture
def folder(tmp_path):
    names = ["b.JPG", "a.png", "sub/c.mp4", "sub/deep/d.gif", ".hidden.jpg", ".cache/e.jpg", "notes.txt"]
    return touch(tmp_path / "media", *names)


def test_one_folders_files_are_named_relative_to_it(folder):
    found = find_media([folder])
    assert sorted(found) == ["a.png", "b.JPG", "sub/c.mp4", "sub/deep/d.gif"]
    assert all(path == str(folder / name) for name, path in found.items())


def test_several_paths_are_named_as_given(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    touch(tmp_path, "other/a.png", "x.webm")
    found = find_media(["media/sub", "./other", "x.webm", tmp_path / "media" / "a.png"])
    assert list(found) == [
        "media/sub/c.mp4",
        "media/sub/deep/d.gif",
        "other/a.png",
        "x.webm",
        f"{tmp_path}/media/a.png",
    ]
    assert all(os.path.samefile(name, path) for name, path in found.items())


def test_what_is_named_twice_is_found_once(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert sorted(find_media(["sub", "sub/c.mp4", "./sub/c.mp4"])) == ["sub/c.mp4", "sub/deep/d.gif"]


def test_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(touch(tmp_path, "a.png")))
    assert find_media(["~/a.png"]) == {f"{tmp_path}/a.png": f"{tmp_path}/a.png"}
    assert find_media(["~"]) == {"a.png": f"{tmp_path}/a.png"}


def test_the_photographs_of_a_package():
    pytest.importorskip("skimage")
    found = find_media(["scikit-image"])
    assert len(found) > 5 and all(name.startswith("scikit-image/") and Path(p).is_file() for name, p in found.items())


def test_a_folder_that_is_called_like_the_package(tmp_path, monkeypatch):
    touch(tmp_path, "scikit-image/a.png")
    monkeypatch.chdir(tmp_path)
    assert list(find_media(["scikit-image"])) == ["a.png"]


def test_errors_name_the_path(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="absent.jpg does not exist"):
        find_media([folder, tmp_path / "absent.jpg"])
    with pytest.raises(FileNotFoundError, match="no image and no video in .*empty"):
        find_media([folder, tmp_path / "empty"])
    with pytest.raises(ValueError, match="notes.txt is neither an image nor a video by its suffix"):
        find_media([folder / "notes.txt"])
    with pytest.raises(ValueError, match="one of the images or folders to read has an empty name"):
        find_media([folder, ""])


def test_a_linked_folder_is_followed_once(folder):
    (folder / "sub" / "loop").symlink_to(folder)
    assert sorted(walk(folder, [".png", ".mp4"])) == ["a.png", "sub/c.mp4"]


def picture(shade):
    content = io.BytesIO()
    Image.new("RGB", (4, 4), (shade, 0, 0)).save(content, "png")
    return content.getvalue()


@pytest.fixture
def shards(tmp_path):
    """a.tar with 1.png and sub/2.png, b.zip with 3.png, c.parquet with 4.png."""
    (folder := tmp_path / "shards").mkdir()
    with tarfile.open(folder / "a.tar", "w") as archive:
        for name, content in {"1.png": picture(1), "1.txt": b"one", "sub/2.png": picture(2)}.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    with zipfile.ZipFile(folder / "b.zip", "w") as archive:
        archive.writestr("3.png", picture(3))
    rows = [{"bytes": picture(4), "path": "4.png"}]
    pyarrow.parquet.write_table(pa.table({"image": rows}), tmp_path / "c.parquet")
    return folder


def reds(found):
    return {name: Image.open(path).getpixel((0, 0))[0] for name, path in found.items()}


def test_archives_are_read_as_folders_of_their_names(shards, tmp_path, monkeypatch):
    in_both = {"a/1.png": 1, "a/sub/2.png": 2, "b/3.png": 3}
    assert reds(find_media([shards])) == in_both
    assert reds(find_media([shards / "a.tar"])) == {"1.png": 1, "sub/2.png": 2}
    monkeypatch.chdir(tmp_path)
    found = find_media(["shards/a.tar", "shards/b.zip", "c.parquet"])
    assert reds(found) == {f"shards/{name}": shade for name, shade in in_both.items()} | {"c/4.png": 4}
    assert reds(find_media(["shards", "c.parquet"])) == reds(found)
    (shards / "loose.png").write_bytes(picture(5))
    assert reds(find_media([shards])) == {"loose.png": 5}


def test_urls_of_archives_and_of_pictures(shards, tmp_path):
    store = fsspec.filesystem("memory")
    store.put(str(shards), "/media/shards", recursive=True)
    store.pipe_file("/media/loose/x.png", picture(5))
    in_both = {"a/1.png": 1, "a/sub/2.png": 2, "b/3.png": 3}
    assert reds(find_media(["memory://media/shards/"])) == in_both
    found = find_media(["memory://media/shards/b.zip", "memory://media/loose", "memory://media/loose/x.png"])
    assert reds(found) == {"memory://media/shards/b/3.png": 3, "memory://media/loose/x.png": 5}
    assert reds(find_media(["memory://media/loose"])) == {"x.png": 5}
    store.rm("/media", recursive=True)
    with pytest.raises(OSError, match="memory://media/shards"):
        find_media(["memory://media/shards/none.tar"])


def test_archives_that_hold_nothing_or_are_damaged(tmp_path):
    with tarfile.open(tmp_path / "empty.tar", "w"):
        pass
    with pytest.raises(FileNotFoundError, match="no image and no video in .*empty.tar"):
        find_media([tmp_path / "empty.tar"])
    (tmp_path / "torn.zip").write_bytes(b"PK")
    with pytest.raises(ValueError, match="torn.zip cannot be unpacked"):
        find_media([tmp_path / "torn.zip"])
