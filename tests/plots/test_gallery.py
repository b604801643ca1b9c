import base64
import io
import re
from html.parser import HTMLParser

from clipknight.data.images import UnreadableImage
from clipknight.plots.gallery import FRAME, LARGE, MANY, SMALL, Captioned, write_gallery

import numpy as np
import pytest
from PIL import Image

HOSTILE = '<script>alert("x")</script> & "quotes" \'too\' naïve 猫'


class Page(HTMLParser):
    """A page's text, its pictures by alternative text, and every address it names."""

    VOID = {"meta", "img", "br", "link"}

    def __init__(self, path):
        super().__init__()
        self.words, self.pictures, self.addresses, self.open, self.tags = [], [], [], [], []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        assert not self.open  # all that was opened was closed
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        self.addresses += [attrs[key] for key in ("src", "href", "srcset") if key in attrs]
        if tag == "img":
            data = base64.b64decode(attrs["src"].removeprefix("data:image/jpeg;base64,"), validate=True)
            self.pictures.append((attrs["alt"], Image.open(io.BytesIO(data))))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "title"):
            self.words.append(data)


def written(tmp_path, items, title="Captions", summary="of the test images", **options):
    write_gallery(tmp_path / "gallery.html", title, summary, items, **options)
    return Page(tmp_path / "gallery.html")


def coloured(color, size=(600, 300)):
    return Image.new("RGB", size, color)


def test_an_item_is_shown_with_all_that_is_known_of_it(tmp_path):
    coloured("red").save(tmp_path / "dog.png")
    page = written(
        tmp_path,
        [
            Captioned(
                path="dog.png",
                caption="a dog runs",
                pictures=[tmp_path / "dog.png"],
                neighbours=[("two dogs run", 0.8), ("a cat sleeps", np.float32(0.2)), ("a car", -0.1)],
                references=["the dog is running", "a hound"],
                score=0.61234,
            )
        ],
    )
    assert page.text.startswith("Captions of the test images 1 in all. Under a caption")
    assert "A full bar is 0.80, the greatest on this page." in page.text
    shown = "dog.png score 0.612 a dog runs nearest captions two dogs run 0.80 a cat sleeps 0.20 a car -0.10"
    assert f"{shown} references the dog is running a hound" in page.text
    assert re.findall(r"width: ([\d.]+)%\"", page.source) == ["100.0", "25.0", "0.0"]
    ((name, picture),) = page.pictures
    assert name == "dog.png" and picture.size == (LARGE, LARGE // 2)
    red, green, blue = picture.getpixel((50, 50))
    assert red > 240 and green < 15 and blue < 15


def test_what_is_not_known_is_not_shown(tmp_path):
    page = written(tmp_path, [Captioned(path="a", caption="a dog", pictures=[coloured("red")])], summary="")
    assert page.text == "Captions 1 in all. a a dog"
    items = [Captioned(path="a", caption="a", pictures=[coloured("red")], neighbours=[("b", -0.5)], score=0.0)]
    page = written(tmp_path, items, summary="")
    assert page.text == "Captions 1 in all. a score 0.000 a nearest captions b -0.50"
    assert 'width: 0.0%"' in page.source
    assert written(tmp_path, [], summary="").text == "Captions 0 in all."


def test_a_video_shows_its_frames_in_order(tmp_path):
    colors = [(40 * i, 0, 0) for i in range(6)]
    frames = [coloured(color, (300, 400)) for color in colors]
    frames[3].save(tmp_path / "3.png")
    frames[3] = str(tmp_path / "3.png")
    page = written(tmp_path, [Captioned(path="clip.avi", caption="a man cooks", pictures=frames)])
    assert [name for name, _ in page.pictures] == [f"clip.avi, frame {i}" for i in range(1, 7)]
    for (_, picture), color in zip(page.pictures, colors, strict=True):
        assert picture.size == (FRAME * 3 // 4, FRAME) and abs(picture.getpixel((9, 9))[0] - color[0]) < 4
    assert frames[0].size == (300, 400)  # the caller's picture stays as it was


def test_a_photo_is_turned_as_its_exif_says(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    coloured("blue").save(tmp_path / "a.jpg", exif=exif)
    page = written(tmp_path, [Captioned(path="a", caption="a", pictures=[tmp_path / "a.jpg"])])
    assert page.pictures[0][1].size == (LARGE // 2, LARGE)


def test_text_of_any_kind_stays_text(tmp_path):
    item = Captioned(
        path=HOSTILE, caption=HOSTILE, pictures=[coloured("red")], neighbours=[(HOSTILE, 0.5)], references=[HOSTILE]
    )
    page = written(tmp_path, [item], title=HOSTILE, summary=HOSTILE)
    assert page.text.count(" ".join(HOSTILE.split())) == 6
    assert page.pictures[0][0] == HOSTILE
    assert "script" not in page.tags
    broken = Captioned(path="\udcff.jpg", caption="a", pictures=[coloured("red")])  # a name that is not UTF-8
    assert "?.jpg" in written(tmp_path, [broken]).text


def test_the_page_needs_no_other_file(tmp_path):
    page = written(tmp_path, [Captioned(path="a", caption="a", pictures=[coloured("red")] * n) for n in (1, 2)])
    assert len(page.addresses) == 3 and all(address.startswith("data:") for address in page.addresses)
    assert "url(" not in page.source and "@import" not in page.source and "prefers-color-scheme: dark" in page.source


def test_a_page_of_many_is_cut_at_its_limit_and_has_smaller_pictures(tmp_path):
    picture = coloured("red", (240, 120))
    items = [Captioned(path=f"{i}.jpg", caption=f"caption {i}", pictures=[picture]) for i in range(1234)]
    page = written(tmp_path, items, limit=MANY)
    assert f"The first {MANY} of 1,234 are shown." in page.text
    assert [name for name, _ in page.pictures] == [f"{i}.jpg" for i in range(MANY)]
    assert {shown.width for _, shown in page.pictures} == {LARGE}
    page = written(tmp_path, items, limit=MANY + 1)
    assert {shown.width for _, shown in page.pictures} == {SMALL}
    page = written(tmp_path, items[:2], total=len(items))  # who has many keeps no more than the page shows
    assert "The first 2 of 1,234 are shown." in page.text


def test_bars_are_measured_by_what_is_shown(tmp_path):
    items = [Captioned(path="a", caption="a", pictures=[coloured("red")], neighbours=[("b", s)]) for s in (0.2, 0.4, 1)]
    page = written(tmp_path, items, limit=2)
    assert re.findall(r"width: ([\d.]+)%\"", page.source) == ["50.0", "100.0"]


def test_an_unreadable_picture_leaves_the_earlier_page(tmp_path):
    item = Captioned(path="a", caption="a", pictures=[coloured("red")])
    page = written(tmp_path, [item])
    with pytest.raises(UnreadableImage, match="missing.jpg"):
        written(tmp_path, [item, Captioned(path="b", caption="b", pictures=[tmp_path / "missing.jpg"])])
    assert [file.name for file in tmp_path.iterdir()] == ["gallery.html"]
    assert Page(tmp_path / "gallery.html").source == page.source
