import io
import pickle
import struct
import threading
import warnings
import zlib

from clipknight.data import images
from clipknight.data.images import UnreadableImage, find_unreadable, middle_of_strip, read_image

import numpy as np
import PIL
import pytest
from PIL import Image

RED, GREEN = (255, 0, 0), (0, 255, 0)
OF_PILLOW_13 = pytest.mark.skipif(PIL.__version__ < "13", reason="Pillow 12 reads no TIFF in YCbCr")


def halves(mode="RGB", size=(32, 16)):
    """Red on the left, green on the right."""
    image = Image.new("RGB", size, RED)
    image.paste(GREEN, (size[0] // 2, 0, size[0], size[1]))
    return image.convert(mode)


def close(pixel, color, tolerance=8):
    return all(abs(a - b) <= tolerance for a, b in zip(pixel, color, strict=True))


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".webp", ".tiff", ".gif"])
def test_lossless_kinds_are_read_as_they_were_written(tmp_path, suffix):
    options = {"lossless": True} if suffix == ".webp" else {}
    halves().save(tmp_path / f"a{suffix}", **options)
    read = read_image(tmp_path / f"a{suffix}")
    assert read.mode == "RGB" and np.array_equal(np.asarray(read), np.asarray(halves()))


@pytest.mark.parametrize("orientation, left", [(1, RED), (3, GREEN), (2, GREEN)])
def test_exif_orientation_is_applied(tmp_path, orientation, left):
    exif = Image.Exif()
    exif[0x0112] = orientation
    halves().save(tmp_path / "a.jpg", exif=exif, quality=100)
    assert close(read_image(tmp_path / "a.jpg").getpixel((2, 8)), left)


def test_exif_orientation_turns_the_size(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned right by 90 degrees
    halves().save(tmp_path / "a.jpg", exif=exif, quality=100)
    read = read_image(tmp_path / "a.jpg")
    assert read.size == (16, 32) and close(read.getpixel((8, 2)), RED) and close(read.getpixel((8, 30)), GREEN)


def test_transparency_goes_over_white(tmp_path):
    image = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    image.putpixel((0, 0), (*RED, 255))
    image.putpixel((1, 0), (0, 0, 0, 128))
    image.save(tmp_path / "rgba.png")
    Image.new("LA", (4, 4), (0, 0)).save(tmp_path / "la.png")
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([*RED, *GREEN])
    palette.save(tmp_path / "p.png", transparency=1)
    halves().save(tmp_path / "key.png", transparency=GREEN)
    read = read_image(tmp_path / "rgba.png")
    assert read.mode == "RGB"
    assert [read.getpixel((x, 0)) for x in range(3)] == [RED, (127, 127, 127), (255, 255, 255)]
    assert read_image(tmp_path / "la.png").getpixel((0, 0)) == (255, 255, 255)
    assert read_image(tmp_path / "p.png").getpixel((0, 0)) == (255, 255, 255)
    assert read_image(tmp_path / "key.png").getpixel((31, 0)) == (255, 255, 255)


@pytest.mark.parametrize("mode", ["P", "CMYK", pytest.param("YCbCr", marks=OF_PILLOW_13)])
def test_other_colour_modes_keep_their_colours(tmp_path, mode):
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png" if mode == "P" else "a.tiff")
    halves(mode).save(path, **({"quality": 100} if mode == "CMYK" else {}))
    with Image.open(path) as image:
        assert image.mode == mode
    read = read_image(path)
    assert close(read.getpixel((2, 8)), RED, 12) and close(read.getpixel((30, 8)), GREEN, 12)


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_sixteen_bits_are_scaled_not_clipped(tmp_path, suffix):
    levels = np.array([[0, 257 * 200, 65535]], np.uint16)
    Image.fromarray(levels).save(tmp_path / f"a{suffix}")
    assert np.asarray(read_image(tmp_path / f"a{suffix}"))[0].tolist() == [[0] * 3, [200] * 3, [255] * 3]


@pytest.mark.parametrize("values", [np.array([[0.5]], np.float32), np.array([[70000]], np.int32)])
def test_pixels_of_unknown_range_are_refused(tmp_path, values):
    Image.fromarray(values).save(tmp_path / "a.tiff")
    with pytest.raises(UnreadableImage, match="a.tiff: 32-bit .* no known range"):
        read_image(tmp_path / "a.tiff")


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_an_animation_gives_its_first_frame(tmp_path, suffix):
    frames = [Image.new("RGB", (8, 8), color) for color in (RED, GREEN)]
    frames[0].save(tmp_path / f"a{suffix}", save_all=True, append_images=frames[1:], duration=100)
    assert close(read_image(tmp_path / f"a{suffix}").getpixel((4, 4)), RED)


def broken_files(folder):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    for suffix in (".jpg", ".png", ".webp", ".bmp", ".tiff"):
        noise.save(folder / f"whole{suffix}")
        data = (folder / f"whole{suffix}").read_bytes()
        (folder / f"cut{suffix}").write_bytes(data[: len(data) // 2])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.jpg").write_text("<html>404</html>", encoding="utf-8")
    data = bytearray((folder / "whole.png").read_bytes())
    data[1000:1100] = bytes(100)
    (folder / "damaged.png").write_bytes(data)
    (folder / "folder.jpg").mkdir()


def test_every_kind_of_broken_file_is_named_with_its_reason(tmp_path):
    broken_files(tmp_path)
    broken = sorted([*tmp_path.glob("cut.*"), *(tmp_path / n for n in ("empty.jpg", "text.jpg", "damaged.png"))])
    broken += [tmp_path / "missing.jpg", tmp_path / "folder.jpg"]
    for path in broken:
        with pytest.raises(UnreadableImage) as error:
            read_image(path)
        assert error.value.path == str(path) and error.value.reason
        assert str(error.value) == f"{path}: {error.value.reason}"
    with pytest.raises(UnreadableImage, match="empty.jpg: the file is empty"):
        read_image(tmp_path / "empty.jpg")
    with pytest.raises(UnreadableImage, match="text.jpg: not an image"):
        read_image(tmp_path / "text.jpg")
    whole = sorted(tmp_path.glob("whole.*"))
    assert sorted(find_unreadable([*whole, *broken], workers=3)) == sorted(map(str, broken))
    assert find_unreadable(whole) == {} and find_unreadable([]) == {}


@pytest.mark.parametrize("filter", ["ignore", "error"])
@pytest.mark.parametrize("side", [9600, 13500])  # beyond where Pillow warns, and beyond where it refuses
def test_a_decompression_bomb_is_refused(tmp_path, side, filter):
    Image.new("1", (side, side)).save(tmp_path / "bomb.png")
    with warnings.catch_warnings(), pytest.raises(UnreadableImage, match="bomb.png: .*pixels"):
        warnings.simplefilter(filter)
        read_image(tmp_path / "bomb.png")


def test_the_limit_counts_pixels(tmp_path, monkeypatch):
    halves(size=(10, 10)).save(tmp_path / "a.png")
    monkeypatch.setattr(images, "MAX_PIXELS", 99)
    with pytest.raises(UnreadableImage, match="10 x 10 pixels are more than 99"):
        read_image(tmp_path / "a.png")
    monkeypatch.setattr(images, "MAX_PIXELS", 100)
    assert read_image(tmp_path / "a.png").size == (10, 10)


def test_the_error_survives_pickling():
    error = pickle.loads(pickle.dumps(UnreadableImage("a/b.jpg", "cut")))
    assert (error.path, error.reason, str(error)) == ("a/b.jpg", "cut", "a/b.jpg: cut")


def test_the_file_is_closed_even_where_frames_are_left(tmp_path, monkeypatch):
    halves().save(tmp_path / "a.gif", save_all=True, append_images=[Image.new("RGB", (32, 16))])
    opened, open_image = [], Image.open
    monkeypatch.setattr(Image, "open", lambda path, **kinds: opened.append(open_image(path, **kinds)) or opened[-1])
    read = read_image(tmp_path / "a.gif")
    assert len(opened) == 1 and opened[0].fp is None
    assert read.getpixel((0, 0)) == RED


def test_blocks_cover_all_paths_and_threads_share_the_work(tmp_path, monkeypatch):
    (tmp_path / "empty.jpg").write_bytes(b"")
    halves().save(tmp_path / "a.png")
    paths = [tmp_path / "a.png"] * 9 + [tmp_path / "empty.jpg"]
    monkeypatch.setattr(images, "BLOCK", 4)
    both = threading.Barrier(2, timeout=20)  # passes only if two threads decode at once
    read = images.read_image
    monkeypatch.setattr(images, "read_image", lambda path: (both.wait(), read(path))[1])
    assert find_unreadable(paths, workers=2) == {str(tmp_path / "empty.jpg"): "the file is empty"}


def test_what_takes_long_shows_a_progress_bar(tmp_path, monkeypatch, capsys):
    halves().save(tmp_path / "a.png")
    find_unreadable([tmp_path / "a.png"] * 3)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(images, "SHOWN_AFTER", 0)
    find_unreadable([tmp_path / "a.png"] * 3)
    assert "checking images" in capsys.readouterr().err


# What stands beside the pixels


def with_exif(path, *entries):
    """A JPEG turned by EXIF, with further entries as they stand in the file: (tag, type, count, value)."""
    entries = sorted([(0x0112, 3, 1, struct.pack("<HH", 6, 0)), *entries])
    table = b"".join(struct.pack("<HHI", *entry[:3]) + entry[3] for entry in entries)
    tiff = b"II*\0" + struct.pack("<IH", 8, len(entries)) + table + bytes(4)
    body = b"Exif\0\0" + tiff
    jpeg = io.BytesIO()
    halves().save(jpeg, "JPEG", quality=100)
    path.write_bytes(b"\xff\xd8\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg.getvalue()[2:])
    return path


@pytest.mark.parametrize(
    "entry", [(0x011A, 5, 1, struct.pack("<I", 9999)), (0x011A, 5, 1, bytes(4)), (0x8769, 4, 1, struct.pack("<I", 7))]
)
def test_a_broken_exif_entry_costs_nothing_but_itself(tmp_path, entry):
    read = read_image(with_exif(tmp_path / "a.jpg", entry))
    assert read.size == (16, 32) and close(read.getpixel((8, 2)), RED) and close(read.getpixel((8, 30)), GREEN)


def test_exif_that_cannot_be_read_costs_the_turning(tmp_path, monkeypatch):
    monkeypatch.setattr(Image.Image, "getexif", lambda image: 1 / 0)
    halves().save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").size == (32, 16)


@pytest.mark.parametrize(
    "kind, body", [(b"pHYs", b"1"), (b"gAMA", b""), (b"zTXt", b"a\0\0" + zlib.compress(bytes(2**22)))]
)
def test_a_png_with_a_broken_comment_shows_its_pixels(tmp_path, kind, body):
    halves().save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    part = struct.pack(">I", len(body)) + kind + body + bytes(4)  # a wrong checksum too
    (tmp_path / "a.png").write_bytes(data[:33] + part + data[33:])
    assert np.array_equal(np.asarray(read_image(tmp_path / "a.png")), np.asarray(halves()))


def test_heic_is_read_where_its_package_is(tmp_path):
    pytest.importorskip("pillow_heif")
    images._formats()
    halves(size=(64, 64)).save(tmp_path / "a.heic", quality=95)
    assert close(read_image(tmp_path / "a.heic").getpixel((4, 8)), RED, 16)


@pytest.fixture
def all_are_large(monkeypatch):
    monkeypatch.setattr(images, "LARGE_FILE", 0)


def photograph(size, slope=1.3):
    """As much detail at each scale as photographs have: amplitudes fall with the frequency."""
    width, height = size
    draw = np.random.default_rng(0)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = np.inf
    waves = draw.standard_normal((3, *frequency.shape)) + 1j * draw.standard_normal((3, *frequency.shape))
    levels = np.fft.irfft2(waves / frequency**slope, (height, width))
    return Image.fromarray(np.clip(128 + 50 * levels / levels.std(), 0, 255).astype(np.uint8).transpose(1, 2, 0))


@pytest.mark.parametrize(
    "at_least, size",
    [(0, (640, 480)), (241, (640, 480)), (240, (320, 240)), (121, (320, 240)), (100, (160, 120)), (9, (80, 60))],
)
def test_a_large_jpeg_is_scaled_as_it_is_decoded(tmp_path, all_are_large, at_least, size):
    halves(size=(640, 480)).save(tmp_path / "a.JPG", quality=95)
    read = read_image(tmp_path / "a.JPG", at_least)
    assert read.size == size
    assert close(read.getpixel((2, 2)), RED) and close(read.getpixel((size[0] - 3, size[1] - 3)), GREEN)


def test_a_scaled_jpeg_is_turned(tmp_path, all_are_large):
    exif = Image.Exif()
    exif[0x0112] = 6
    halves(size=(640, 480)).save(tmp_path / "a.jpg", exif=exif, quality=95)
    read = read_image(tmp_path / "a.jpg", 100)
    assert read.size == (120, 160) and close(read.getpixel((60, 2)), RED) and close(read.getpixel((60, 157)), GREEN)


def test_a_scaled_photograph_shows_an_encoder_the_same(tmp_path, all_are_large):
    photograph((1600, 1200)).save(tmp_path / "a.jpg", quality=92)
    whole, scaled = (read_image(tmp_path / "a.jpg", at_least) for at_least in (0, 3 * 84))
    assert whole.size == (1600, 1200) and scaled.size == (400, 300)
    a, b = (np.asarray(i.resize((112, 84), Image.BICUBIC), dtype=float).ravel() - 128 for i in (whole, scaled))
    assert a @ b / np.sqrt(a @ a * (b @ b)) > 0.9999


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
def test_other_pictures_are_decoded_in_full(tmp_path, monkeypatch, name):
    photograph((320, 240)).save(tmp_path / name)
    monkeypatch.setattr(images, "LARGE_FILE", (tmp_path / name).stat().st_size + (name == "a.jpg"))
    assert np.array_equal(np.asarray(read_image(tmp_path / name, 30)), np.asarray(read_image(tmp_path / name)))


def test_a_large_jpeg_that_is_cut_is_unreadable_at_any_size(tmp_path, all_are_large):
    photograph((320, 240)).save(tmp_path / "a.jpg")
    data = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(data[: len(data) // 2])
    with pytest.raises(UnreadableImage, match="truncated"):
        read_image(tmp_path / "a.jpg", 30)


def test_a_program_is_no_picture(tmp_path):
    (tmp_path / "a.jpg").write_text(
        "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", encoding="utf-8"
    )
    with pytest.raises(UnreadableImage, match="a.jpg: not an image"):
        read_image(tmp_path / "a.jpg")


@pytest.mark.parametrize(
    "size, kept", [((1, 60000), (1, 12)), ((60000, 2), (24, 2)), ((12, 1), (12, 1)), ((5, 9), (5, 9))]
)
def test_of_a_strip_the_middle_is_kept(size, kept):
    image = Image.new("RGB", size, RED)
    image.putpixel((size[0] // 2, size[1] // 2), GREEN)
    middle = middle_of_strip(image)
    assert middle.size == kept and middle.getpixel((kept[0] // 2, kept[1] // 2)) == GREEN
