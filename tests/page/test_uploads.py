"""What is dropped on the page: files as they are, zips within limits, and one line for each that is refused."""

import io
import zipfile

from clipknight.page.limits import Limits
from clipknight.page.uploads import received

import pytest
from PIL import Image


def picture(colour="red") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(file, "PNG")
    return file.getvalue()


def zip_of(path, **files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in files.items():
            opened.writestr(name.replace("__", "/"), content)
    return path


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "kept").mkdir()
    return tmp_path / "kept"


def test_files_by_name_and_what_is_none_in_a_line_without_the_servers_folders(tmp_path, folder):
    (tmp_path / "a.png").write_bytes(picture())
    (tmp_path / "notes.txt").write_text("no picture", encoding="utf-8")
    found = received([tmp_path / "a.png", tmp_path / "notes.txt"], folder)
    assert found.files == {"a.png": str(tmp_path / "a.png")}
    assert found.refused == ["notes.txt is neither an image nor a video by its suffix; nor does it begin as one"]


def test_a_zip_is_unpacked_with_its_folders_and_two_files_of_one_name_stay_two(tmp_path, folder):
    archive = zip_of(tmp_path / "all.zip", more__a="x", **{"more__a.png": picture(), "a.png": picture("blue")})
    (tmp_path / "a.png").write_bytes(picture("green"))
    found = received([tmp_path / "a.png", archive], folder)
    assert list(found.files) == ["a.png", "a.png (2)", "more/a.png"]
    assert not found.refused
    assert Image.open(found.files["a.png (2)"]).getpixel((0, 0)) == (0, 0, 255)


@pytest.mark.parametrize(
    "limits, line",
    [
        (Limits(unpacked=2 << 20), "bomb.zip holds more than 2 MB: give fewer files at once"),
        (Limits(files=-48), "bomb.zip holds more than -48 files: give fewer at once"),
    ],
)
def test_a_zip_that_holds_too_much_is_refused_before_it_is_unpacked(tmp_path, folder, limits, line):
    names = {f"{number}.png": b"\0" * 1_000_000 for number in range(5)}
    bomb = zip_of(tmp_path / "bomb.zip", **names)
    assert bomb.stat().st_size < 20_000
    assert received([bomb], folder, limits).refused == [line]
    assert not any(folder.iterdir())


def test_other_zips_say_what_is_wrong(tmp_path, folder):
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 and no more")
    out = zip_of(tmp_path / "out.zip", **{"..__b.png": picture()})
    texts = zip_of(tmp_path / "texts.zip", **{"a.txt": "a"})
    found = received([tmp_path / "broken.zip", out, texts], folder)
    assert found.refused == [
        "broken.zip is no zip that can be read: File is not a zip file",
        "out.zip: the name '../b.png' in it leads out of its folder: it is not read",
        "texts.zip holds no picture and no clip",
    ]
    assert not found.files and not list(tmp_path.rglob("b.png"))


def test_only_so_many_files_are_taken(tmp_path, folder):
    archive = zip_of(tmp_path / "all.zip", **{f"{number}.png": picture() for number in range(4)})
    found = received([archive], folder, Limits(files=3))
    assert list(found.files) == ["0.png", "1.png", "2.png"]
    assert found.refused == ["Only the first 3 files are taken: give the others afterwards."]
