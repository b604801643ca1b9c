"""One HTML page of captioned pictures and videos, each with the corpus captions that its caption was made from."""

import base64
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from clipknight.data.images import read_image
from clipknight.files import atomic_file
from clipknight.waiting import SHOWN_AFTER

from jinja2 import Environment
from PIL import Image
from tqdm import tqdm

Picture = str | Path | Image.Image

LARGE, SMALL, MANY = 224, 160, 100  # pixels of a thumbnail's longer side; the smaller on a page of more than MANY
MOST = 1000  # pictures and videos on a page
FRAME = 112  # of a video's frames, of which there are several

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
 :root {color-scheme: light dark; --text: #1d2126; --faint: #6a727c; --page: #f4f5f7; --card: #fff; --line: #dfe3e8;
  --bar: #3f7fd6}
 @media (prefers-color-scheme: dark) {:root {--text: #e6e9ed; --faint: #98a1ac; --page: #14171b; --card: #1e2227;
  --line: #333a42; --bar: #5b98ea}}
 body {font: 15px/1.45 system-ui, sans-serif; margin: 0 auto; max-width: 1600px; padding: 1.5em; color: var(--text);
  background: var(--page)}
 h1 {font-size: 1.5em; margin: 0} header p {margin: .4em 0; max-width: 60em} small, .faint {color: var(--faint)}
 main {display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 330px), 1fr)); gap: 1em}
 article {background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1em; min-width: 0;
  content-visibility: auto; contain-intrinsic-size: auto 480px}
 img {display: block; border-radius: 4px; max-width: 100%}
 .frames {display: grid; grid-template-columns: repeat(4, 1fr); gap: 4px} .frames img {width: 100%}
 article > small {display: flex; justify-content: space-between; gap: 1em; margin-top: .4em; overflow-wrap: anywhere}
 h2 {font-size: 1.3em; line-height: 1.25; margin: .3em 0 .6em; overflow-wrap: anywhere}
 h3 {font-size: .8em; font-weight: 600; color: var(--faint); margin: .8em 0 .2em}
 ul, ol {list-style: none; margin: 0; padding: 0; font-size: .9em} li {overflow-wrap: anywhere}
 .near {display: grid; grid-template-columns: 1fr auto; column-gap: .8em; margin-bottom: .35em}
 .near b {font-weight: normal; font-variant-numeric: tabular-nums; color: var(--faint)}
 .near i {grid-column: 1 / 3; height: 3px; border-radius: 2px; background: var(--line)}
 .near i i {display: block; background: var(--bar)}
</style></head><body>
<header><h1>{{ title }}</h1>
{% if summary %}<p>{{ summary }}</p>{% endif %}
<p class="faint">{% if shown < total %}The first {{ "{:,}".format(shown) }} of {{ "{:,}".format(total) }} are shown.
{%- else %}{{ "{:,}".format(total) }} in all.{% endif +%}
{% if longest > 0 %}Under a caption: the corpus captions nearest to the picture, with their similarity. A full bar is
{{ "%.2f"|format(longest) }}, the greatest on this page.{% endif %}</p></header>
<main>
{% for item, jpegs in cards %}<article>
{% if jpegs|length == 1 %}<img alt="{{ item.path }}" src="data:image/jpeg;base64,{{ jpegs[0] }}">
{%- else %}<div class="frames">{% for jpeg in jpegs %}
<img alt="{{ item.path }}, frame {{ loop.index }}" src="data:image/jpeg;base64,{{ jpeg }}">{% endfor %}</div>{% endif %}
<small><span>{{ item.path }}</span>
{%- if item.score is not none %} <span>score {{ "%.3f"|format(item.score) }}</span>{% endif %}</small>
<h2>{{ item.caption }}</h2>{% if item.note %}<p class="faint">{{ item.note }}</p>{% endif %}

{% if item.neighbours %}<h3>nearest captions</h3><ol>{% for caption, similarity in item.neighbours %}
<li class="near">{{ caption }}<b>{{ "%.2f"|format(similarity) }}</b>
<i><i style="width: {{ "%.1f"|format(100 * similarity / longest if similarity > 0 else 0) }}%"></i></i></li>
{% endfor %}</ol>{% endif %}
{% if item.references %}<h3>references</h3><ul>{% for caption in item.references %}<li>{{ caption }}</li>
{% endfor %}</ul>{% endif %}
</article>
{% endfor %}</main></body></html>
"""


@dataclass(frozen=True, kw_only=True)
class Captioned:
    """A picture or video with its caption. `path` is shown as its name, `pictures` are the picture or the frames.

    A `note` is shown under the caption.
    """

    path: str
    caption: str
    pictures: Sequence[Picture]
    neighbours: Sequence[tuple[str, float]] = ()
    references: Sequence[str] | None = None
    score: float | None = None
    note: str = ""


def write_gallery(
    path: str | Path, title: str, summary: str, items: Sequence[Captioned], limit: int = MOST, total: int = 0
) -> None:
    """A page that needs no other file, of the first `limit` of `total` items; 0 stands for as many as are given.

    UnreadableImage for a picture that can't be read.
    """
    shown = items[:limit]
    similarities = [similarity for item in shown for _, similarity in item.neighbours]
    page = Environment(autoescape=True, trim_blocks=True).from_string(PAGE)
    content = {"title": title, "summary": summary, "shown": len(shown), "total": total or len(items)}
    content |= {"longest": max(similarities, default=0.0), "cards": _cards(shown)}
    with atomic_file(path) as temporary:
        page.stream(content).dump(str(temporary), encoding="utf-8", errors="replace")  # file names need not be UTF-8


def jpeg_base64(picture: Picture, size: int, quality: int = 88) -> str:
    """A thumbnail no larger than `size` pixels, for a data URI."""
    image = picture.convert("RGB") if isinstance(picture, Image.Image) else read_image(picture, 2 * size)
    image.thumbnail((size, size))
    with io.BytesIO() as buffer:
        image.save(buffer, "JPEG", quality=quality)
        return base64.b64encode(buffer.getvalue()).decode()


def _cards(items: Sequence[Captioned]) -> Iterator[tuple[Captioned, list[str]]]:
    """Made as the page is written, so that only one item's pictures are in memory."""
    picture = LARGE if len(items) <= MANY else SMALL
    for item in tqdm(items, "gallery", unit="item", delay=SHOWN_AFTER):
        size = picture if len(item.pictures) == 1 else FRAME
        yield item, [jpeg_base64(p, size) for p in item.pictures]
