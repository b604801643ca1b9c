"""What happens when somebody drops files, clicks one or asks: errors become lines, files of an upload a folder."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp

from clipknight.page.captioning import Choices, Results, captioned
from clipknight.page.details import answer_shown, details_of, fault_shown, report_of
from clipknight.page.downloads import written
from clipknight.page.explaining import explained
from clipknight.page.faults import Fault, fault_of
from clipknight.page.limits import Limits
from clipknight.page.models import Offer, Shelf
from clipknight.page.uploads import received

LONGEST_QUESTION = 300


@dataclass(frozen=True, eq=False)
class Shown:
    """What the page shows of an upload: the `report` in HTML, `results`, and `files` to take home by kind."""

    report: str
    results: Results | None = None
    files: dict[str, str] = field(default_factory=dict)

    @property
    def gallery(self) -> list[tuple[str, str]]:
        """The first picture of each file, with its caption."""
        items = self.results.items if self.results else []
        return [(item.shown, item.caption) for item in items]


@dataclass(frozen=True, eq=False)
class Handlers:
    """All that happens on the page, which is of many users: what is one's own is handed in. Files are in `folder`."""

    offer: Offer
    shelf: Shelf
    folder: Path
    limits: Limits = Limits()

    def caption(
        self, paths: list[str] | None, decoder: str, source: str, choices: Choices, before: Results | None = None
    ) -> Iterator[Shown]:
        """The captions of uploaded files, a few more each time; the results `before` are forgotten."""
        forget(before)
        yield Shown("<p role='status'>Reading the files, and the model where it is new …</p>")
        folder = Path(mkdtemp(dir=self.folder))
        try:
            found = received(paths or [], folder, self.limits)
            results = Results(folder, list(found.refused), len(found.files))
            if found.files:
                model = self.shelf.model(decoder, source).model
                for _ in captioned(model, found, choices, results, self.limits):
                    yield Shown(report_of(results, going_on=True), results)
            yield Shown(report_of(results), results, written(results, folder))
        except Exception as error:
            yield Shown(fault_shown(fault_of(error, self.folder)))

    def explain(self, results: Results | None, place: int, decoder: str, source: str) -> str:
        """Why the file at that place among the results got its caption, as HTML."""
        if not results or not 0 <= place < len(results.items):
            return ""
        item = results.items[place]
        try:
            return details_of(item, *explained(self.shelf.model(decoder, source), item))
        except Exception as error:
            return fault_shown(fault_of(error, self.folder))

    def answer(self, results: Results | None, place: int, question: str, decoder: str, source: str) -> str:
        """The answer to a question about that file, as HTML."""
        if not results or not 0 <= place < len(results.items):
            return fault_shown(Fault("Caption a picture first: the question is about it."))
        if not question.strip():
            return fault_shown(Fault("Write a question first."))
        try:
            model = self.shelf.model(decoder, source).model
            return answer_shown(model.answer(results.items[place].explained, question[:LONGEST_QUESTION]))
        except Exception as error:
            return fault_shown(fault_of(error, self.folder))


def forget(results: Results | None) -> None:
    """Delete what an upload left on the disk."""
    if results:
        shutil.rmtree(results.folder, ignore_errors=True)
