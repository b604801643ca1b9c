"""What happens on the page: results are one's own, errors are lines, files of an upload go with the next."""

from types import SimpleNamespace

from clipknight.api.explanation import Explanation
from clipknight.page.captioning import Choices
from clipknight.page.faults import BUG
from clipknight.page.handlers import Handlers
from clipknight.page.models import OWN, Offer, Shelf

import pandas as pd
import pytest
from PIL import Image

RUNS = ("starter", OWN)


class SaysRed:
    """A model of an encoder's space: it captions, explains and answers, and predicts nothing."""

    source = SimpleNamespace(run=None)

    def caption(self, paths, progress, **options):
        return pd.DataFrame({"image": paths, "caption": ["a <red> picture"] * len(paths)})

    def explain(self, path):
        neighbours = pd.DataFrame({"caption": ["all & red"], "cosine": [0.75]})
        concepts = pd.DataFrame({"concept": ["wall"], "probability": [0.5]})
        return Explanation(path, "a <red> picture", neighbours, pd.DataFrame(columns=["member", "cosine"]), concepts)

    def answer(self, path, question):
        return f"{question}: <red>"


@pytest.fixture
def handlers(tmp_path):
    return Handlers(Offer(["starter"], [OWN]), Shelf(lambda decoder, from_: SaysRed()), tmp_path)


@pytest.fixture
def red(tmp_path) -> str:
    Image.new("RGB", (20, 20), "red").save(tmp_path / "red.png")
    return str(tmp_path / "red.png")


def last(handlers, paths, before=None):
    *_, shown = handlers.caption(paths, *RUNS, Choices(), before)
    return shown


def test_captions_downloads_and_why_with_all_text_escaped(handlers, red):
    shown = last(handlers, [red])
    assert [caption for _, caption in shown.gallery] == ["a <red> picture"]
    assert "1 of 1 captioned." in shown.report and set(shown.files) == {"CSV", "JSON"}
    html = handlers.explain(shown.results, 0, *RUNS)
    assert "a &lt;red&gt; picture" in html and "all &amp; red" in html and "<red>" not in html
    assert "0.75" in html and "wall" in html and "What each member says" not in html
    assert "What colour: &lt;red&gt;" in handlers.answer(shown.results, 0, "What colour", *RUNS)


def test_a_second_upload_deletes_the_files_of_the_first(handlers, red):
    first = last(handlers, [red]).results
    assert first.folder.is_dir()
    assert last(handlers, [red], first).results.folder != first.folder and not first.folder.exists()


def test_nothing_and_nonsense_are_answered(handlers, tmp_path):
    assert "0 of 0 captioned." in last(handlers, None).report
    (tmp_path / "<i>.txt").write_text("x", encoding="utf-8")
    assert "&lt;i&gt;.txt is neither" in last(handlers, [str(tmp_path / "<i>.txt")]).report
    assert handlers.explain(None, 0, *RUNS) == ""
    assert "Caption a picture first" in handlers.answer(None, 0, "What?", *RUNS)


def test_a_mistake_is_told_apart_from_a_bug(tmp_path, red, capsys):
    def fail(decoder, from_):
        raise ZeroDivisionError("in the program") if decoder == "bug" else ValueError("these runs do not fit")

    handlers = Handlers(Offer(["starter"], [OWN]), Shelf(fail), tmp_path)
    assert "class='refused'" in last(handlers, [red]).report and "these runs do not fit" in last(handlers, [red]).report
    *_, shown = handlers.caption([red], "bug", OWN, Choices())
    assert "class='bug'" in shown.report and BUG in shown.report
    assert "ZeroDivisionError: in the program" in capsys.readouterr().err
