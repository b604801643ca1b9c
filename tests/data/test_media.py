import os
from pathlib import Path

from clipknight.data.folders import walk
from clipknight.data.media import find_media

import pytest


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
