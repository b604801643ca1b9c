import os

from clipknight.data import folders
from clipknight.data.datasets import image_folder
from clipknight.data.folders import BESIDE, VIDEO_SUFFIXES, walk
from clipknight.data.images import HEIC_IS_READ, IMAGE_SUFFIXES

import pytest
from PIL import Image


@pytest.fixture
def picture(tmp_path):
    """Writes a small PNG under any name."""

    def write(*names):
        for name in names:
            Image.new("RGB", (4, 4), "red").save(tmp_path / name, "PNG")
        return tmp_path

    return write


def test_a_picture_is_read_whatever_its_suffix(picture, capsys):
    folder = picture("a.png", "b.JPG2000", "c", "d.jpg.1", "e.ppm", "f.JP2")
    assert walk(folder, IMAGE_SUFFIXES) == ["a.png", "b.JPG2000", "c", "d.jpg.1", "e.ppm", "f.JP2"]
    assert capsys.readouterr().out == ""


def test_what_else_a_folder_holds_is_counted_and_named_in_one_line(picture, capsys):
    folder = picture("a.png", "b.png")
    for name in ("c.eps", "d.eps", "e.eps", "notes.txt", "f", ".hidden", "Thumbs.db"):
        (folder / name).write_text("no picture", encoding="utf-8")
    (folder / "gone.png").symlink_to(folder / "nowhere.png")
    assert walk(folder, IMAGE_SUFFIXES) == ["a.png", "b.png"]
    printed = capsys.readouterr().out
    assert printed == (
        f"{folder}: left out 1 .db (Thumbs.db), 3 .eps (c.eps, d.eps and 1 more), 1 without a suffix (f), 1 links that "
        "lead nowhere (gone.png) and 1 other kinds\n"
    )
    walk(folder, IMAGE_SUFFIXES)
    assert capsys.readouterr().out == ""  # said once


def test_a_dataset_may_have_its_tables_beside_its_pictures(picture, capsys):
    folder = picture("a.png")
    (folder / "captions.csv").touch()
    assert walk(folder, IMAGE_SUFFIXES, BESIDE) == ["a.png"] and capsys.readouterr().out == ""


def test_pictures_beside_clips_are_left_out_and_counted(picture, capsys):
    folder = picture("a.png")
    (folder / "b.mp4").touch()
    assert walk(folder, VIDEO_SUFFIXES) == ["b.mp4"]
    assert "left out 1 .png (a.png)" in capsys.readouterr().out


def test_the_photograph_is_taken_not_what_it_was_made_from(picture, capsys):
    folder = picture("a.png", "a.psd", "a.tiff.bak", "b.psd")
    assert walk(folder, IMAGE_SUFFIXES) == ["a.png", "a.tiff.bak", "b.psd"]
    assert "left out 1 .psd (a.psd)" in capsys.readouterr().out


def test_a_name_that_is_not_utf8_is_left_out_with_the_remedy(picture, capsys):
    folder = picture("a.png")
    with open(os.fsencode(folder) + b"/\xff.png", "wb") as file:
        file.write((folder / "a.png").read_bytes())
    assert image_folder(folder).ids.tolist() == ["a"]
    assert r"left out 1 whose name is not UTF-8 (\udcff.png; rename it)" in capsys.readouterr().out


def test_a_pipe_is_no_picture(picture):
    folder = picture("a.png")
    os.mkfifo(folder / "b.png")
    os.mkfifo(folder / "c")
    assert walk(folder, IMAGE_SUFFIXES) == ["a.png"]


def test_without_its_package_heic_is_left_out_with_the_remedy(picture, capsys, monkeypatch):
    monkeypatch.setattr(folders, "REMEDIES", {".heic": "; to read it: pip install pillow-heif"})
    folder = picture("a.png")
    (folder / "b.heic").write_bytes(b"\0\0\0\x18ftypheic")
    assert walk(folder, IMAGE_SUFFIXES - {".heic"}) == ["a.png"]
    assert "left out 1 .heic (b.heic; to read it: pip install pillow-heif)" in capsys.readouterr().out
    assert not HEIC_IS_READ or ".heic" in IMAGE_SUFFIXES
