"""All that may stand for an image becomes files, which hold what the same picture on disk would."""

import io
import os
from pathlib import Path

from clipknight.api.inputs import batches, files_of, images_to_predict, named_images
from clipknight.data.images import UnreadableImage, read_image
from clipknight.paths import caches

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)


def read(files):
    return {name: np.asarray(read_image(path)) for name, path in files.items()}


def as_bytes(image, kind="PNG", **options):
    with io.BytesIO() as buffer:
        image.save(buffer, kind, **options)
        return buffer.getvalue()


def test_pictures_arrays_and_bytes_are_what_their_file_is(pixels):
    image = Image.fromarray(pixels)
    given = [image, pixels, as_bytes(image), bytearray(as_bytes(image))]
    with files_of(named_images(given)) as files:
        found = read(files)
    assert list(found) == ["0", "1", "2", "3"]
    for rows in found.values():
        np.testing.assert_array_equal(rows, pixels)


def test_a_picture_is_seen_as_its_file_is(tmp_path, pixels):
    """Turned once, transparency over white, gray levels of 16 bits, a palette, CMYK."""
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "turned.jpg", exif=turned)
    clear = np.concatenate([pixels, np.full((24, 32, 1), 100, np.uint8)], axis=2)
    Image.fromarray(clear).save(tmp_path / "clear.png")
    Image.fromarray(pixels[..., 0].astype(np.uint16) * 200).save(tmp_path / "deep.png")
    Image.fromarray(pixels).convert("P").save(tmp_path / "palette.png")
    Image.fromarray(pixels).convert("CMYK").save(tmp_path / "cmyk.jpg")
    paths = sorted(tmp_path.iterdir())
    with files_of(named_images(Image.open(path) for path in paths)) as files:
        found = read(files)
    for path, rows in zip(paths, found.values(), strict=True):
        np.testing.assert_array_equal(rows, np.asarray(read_image(path)), err_msg=path.name)
    with files_of(named_images(path.read_bytes() for path in paths)) as files:
        assert [Path(file).suffix for file in files.values()] == ["", ".jpg", "", "", ".jpg"]
        np.testing.assert_array_equal(read(files)["4"], np.asarray(read_image(paths[4])))


def test_arrays(pixels):
    with files_of(named_images(np.stack([pixels, pixels[::-1]]))) as files:
        found = read(files)
    np.testing.assert_array_equal(found["1"], pixels[::-1])
    with files_of(named_images(pixels[..., 0])) as files:
        np.testing.assert_array_equal(read(files)["0"][..., 2], pixels[..., 0])
    for wrong in (pixels / 255, pixels[..., :2], pixels[None]):
        with pytest.raises(UnreadableImage, match="picture 0: an array of .* is no picture: give uint8, "):
            with files_of(named_images([wrong])):
                pass


def test_names_of_paths(tmp_path, pixels, monkeypatch):
    for name in ("a.png", "more/b.png", "more/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert [name for name, _ in named_images("more")] == ["b.png", "c.png"]
    assert [name for name, _ in named_images([Path("more")])] == ["b.png", "c.png"]
    assert [name for name, _ in named_images(["more", "a.png", pixels, "./a.png"])] == [
        "more/b.png",
        "more/c.png",
        "a.png",
        "2",
    ]
    assert [name for name, _ in named_images(path for path in ["more"])] == ["more/b.png", "more/c.png"]
    assert dict(named_images((tmp_path / "a.png").as_uri())) == {f"{tmp_path}/a.png": f"{tmp_path}/a.png"}
    assert [name for name, _ in images_to_predict(".")] == ["a", "more/b", "more/c"]
    assert [name for name, _ in images_to_predict(["more/b.png"])] == ["more/b.png"]


def test_no_images():
    with pytest.raises(TypeError, match=r"None \(NoneType\) is no image: give paths, folders, PIL pictures"):
        list(named_images(None))
    with pytest.raises(TypeError, match=r"number 1 of the images, 3 \(int\), is none"):
        list(named_images([Image.new("L", (8, 8)), 3]))
    with pytest.raises(FileNotFoundError, match="absent.png does not exist"):
        list(named_images("absent.png"))


def test_a_picture_that_cannot_be_decoded(pixels):
    cut = Image.open(io.BytesIO(as_bytes(Image.fromarray(pixels), "JPEG")[:-300]))
    with pytest.raises(UnreadableImage, match="picture 1: .*truncated"):
        with files_of(named_images([pixels, cut])):
            pass
    with files_of(named_images([pixels, cut]), skip_unreadable=True) as files:
        assert list(files) == ["0"]


def test_a_batch_is_all_that_is_there(pixels):
    """Of a generator no picture is asked for before its batch, and of a batch that is done nothing is left."""
    asked, folders = [], []

    def pictures():
        for i in range(5):
            asked.append(i)
            yield pixels

    home = caches()
    for batch in batches(named_images(pictures()), 2):
        with files_of(batch) as files:
            folders.append(os.path.dirname(next(iter(files.values()))))
            assert len(asked) == min(2 * len(folders), 5) and len(os.listdir(folders[-1])) == len(files)
            assert str(caches()) == f"{folders[-1]}/cache"
        assert caches() == home
    assert len(folders) == 3 and not any(map(os.path.exists, folders))
