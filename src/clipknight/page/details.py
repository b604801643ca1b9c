"""Why a picture got its caption, as HTML."""

from html import escape

from clipknight.api.explanation import Explanation
from clipknight.page.captioning import Captioned, Results
from clipknight.page.faults import Fault
from clipknight.plots.gallery import jpeg_base64

SIDE = 480  # pixels of the picture beside its caption, and of a clip's frames
FRAME = 160
IN_PACK = "./runs/"  # where a pack has its members
TITLES = {"neighbours": "Nearest captions", "concepts": "Recognised", "members": "What each member says"}
NOTES = {
    "neighbours": "cosine of each to the picture's embedding",
    "concepts": "probability that the classifier gives",
    "members": "cosine of each member's prediction to the ensemble's",
}


def details_of(item: Captioned, explanation: Explanation, drawing: str = "") -> str:
    """The picture or the frames, its caption, and what the caption came from."""
    place = f"<section><h3>Its place among the captions</h3>{drawing}{_KEY}</section>" if drawing else ""
    of_frame = "<p class='note'>The middle one of these frames is explained.</p>" if item.is_clip else ""
    return (
        f"<article class='details'><div class='seen'>{_frames(item)}{of_frame}</div><div class='said'>"
        f"<p class='caption'>{escape(item.caption)}</p><p class='note'>{escape(item.name)}</p>"
        f"{_confidence(explanation)}{_table(explanation, 'neighbours')}</div><div>{place}</div>"
        f"<div>{_table(explanation, 'concepts')}{_table(explanation, 'members')}</div></article>"
    )


def report_of(results: Results, going_on: bool = False) -> str:
    """How far the work is, and a line for each file that was refused."""
    done = f"{results.done} of {results.total} captioned{' …' if going_on else '.'}"
    refused = "".join(f"<li>{escape(line)}</li>" for line in results.refused)
    return f"<p role='status'>{done}</p>" + (f"<ul class='refused' role='alert'>{refused}</ul>" if refused else "")


def fault_shown(fault: Fault) -> str:
    """A fault as the page shows it."""
    return f"<p class='{'bug' if fault.is_bug else 'refused'}' role='alert'>{escape(fault.text)}</p>"


def answer_shown(answer: str) -> str:
    return f"<p class='answer' role='status'>{escape(answer) or 'No answer.'}</p>"


_KEY = (
    "<p class='note'>Grey: captions that this run retrieves from. Blue: the nearest ones. Diamond: the picture. "
    "Captions lie near each other where they say similar things; two directions of 384 are seen here.</p>"
)


def _confidence(explanation: Explanation) -> str:
    share = min(max(explanation.confidence, 0.0), 1.0)
    note = " The picture is unlike anything it has seen." if explanation.unfamiliar else ""
    return (
        f"<p class='confidence'><label>Confidence <meter min='0' max='1' value='{share:.3f}'>{share:.2f}</meter> "
        f"{share:.2f}</label>{note}</p>"
    )


def _frames(item: Captioned) -> str:
    side, alt = (FRAME, "frame of ") if item.is_clip else (SIDE, "")
    return "".join(
        f"<img alt='{alt}{escape(item.name)}' src='data:image/jpeg;base64,{jpeg_base64(p, side)}'>"
        for p in item.pictures
    )


def _table(explanation: Explanation, name: str) -> str:
    table = getattr(explanation, name)
    if not len(table):
        return ""
    rows = "".join(
        f"<tr><td>{escape(text.removeprefix(IN_PACK))}</td><td>{number:.2f}</td></tr>"
        for text, number in table.itertuples(index=False)
    )
    return f"<section><h3>{TITLES[name]}</h3><p class='note'>{NOTES[name]}</p><table>{rows}</table></section>"
