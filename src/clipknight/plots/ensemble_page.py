"""The HTML page about an ensemble: its scores, its members' learning curves, what each says of some pictures."""

import base64
import io
from pathlib import Path

from clipknight.data.json_files import TEXT, is_of, read_json
from clipknight.embedding.embeddings import Embeddings
from clipknight.files import atomic_file
from clipknight.paths import existing
from clipknight.plots.gallery import jpeg_base64
from clipknight.plots.labels import label
from clipknight.training.runs import Run

import faiss
import numpy as np
import pandas as pd
from jinja2 import Environment

NUMBER = (int, float)
MEASURED, COMPARED = (
    ["avg_cos", "weight"],
    ["lead", "error"],
)  # columns of the scores; a run of 0.3.0 has not the latter
NEAREST = 3  # training captions listed under each model
PAGE = """<!doctype html><meta charset="utf-8"><title>{{ title }}</title>
<style>
 body {font: 15px/1.45 system-ui, sans-serif; max-width: 1080px; margin: 2em auto; padding: 0 1em; color: #222}
 table {border-collapse: collapse; margin: 1em 0} td, th {padding: .3em .8em; border-bottom: 1px solid #ddd}
 th {text-align: left} td.number {text-align: right; font-variant-numeric: tabular-nums}
 .picture {display: flex; gap: 1.2em; border-top: 1px solid #ddd; padding: 1em 0} .picture img {width: 224px}
 .said {display: grid; grid-template-columns: 1fr 1fr; gap: .2em 1.5em; flex: 1} h4 {margin: .2em 0}
 .cards {display: grid; grid-template-columns: repeat(auto-fill, minmax(240px, 1fr)); gap: 1.4em}
 ul {margin: 0; padding-left: 1.1em} small {color: #777} .full {grid-column: 1 / 3}
</style>
<h1>{{ title }}</h1>
<p>{{ summary }}</p>
{% if synthetic %}<p><b>A synthetic sample:</b> it shows that the machinery runs, not how good it is.</p>{% endif %}
<h2>Scores on {{ split }}</h2>{{ scores|safe }}
<h2>Learning curves</h2><img alt="learning curves" src="data:image/png;base64,{{ curves }}">
{% for section in sections %}<h2>Captions: {{ section.name }}</h2>
<p>Made by a decoder that was trained on text alone, from the corpus captions nearest to each picture (below it).</p>
<div class="cards">{% for c in section.captioned %}<div>{% for jpeg in c.jpegs %}
<img alt="{{ c.name }}" src="data:image/jpeg;base64,{{ jpeg }}">{% endfor %}
<h4>{{ c.caption }}</h4><small>{{ c.name }}<ul>{% for caption, cosine in c.nearest %}
<li>{{ caption }} {{ "%.2f"|format(cosine) }}</li>{% endfor %}</ul></small></div>{% endfor %}</div>{% endfor %}
<h2>Pictures</h2>
<p>Evenly spread from the ensemble's best to its worst. Under each model: the training captions nearest to its
prediction, with their cosine; the number behind its name is its mean cosine to the image's own captions.</p>
{% for p in pictures %}<div class="picture"><div><img alt="{{ p.id }}" src="data:image/jpeg;base64,{{ p.jpeg }}"><br>
<small>{{ p.id }}</small></div><div class="said"><div class="full"><h4>True captions</h4><ul>
{% for caption in p.captions %}<li>{{ caption }}</li>{% endfor %}</ul></div>
{% for m in p.models %}<div><h4>{{ m.name }} <small>{{ "%.3f"|format(m.cosine) }}</small></h4><ul>
{% for caption, cosine in m.nearest %}<li>{{ caption }} <small>{{ "%.2f"|format(cosine) }}</small></li>{% endfor %}
</ul></div>{% endfor %}</div></div>{% endfor %}
"""


def write_page(path: str | Path, **content) -> None:
    """Write PAGE with its content, every name and caption escaped."""
    page = Environment(autoescape=True).from_string(PAGE).render(content)
    with atomic_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="replace")  # file names need not be UTF-8


def score_table(run: Run) -> str:
    """HTML of the scores that blend.py wrote, escaped. ValueError for another file."""
    file = run.folder / "scores.csv"
    try:
        scores = pd.read_csv(
            file, keep_default_na=False, na_values=dict.fromkeys(MEASURED + COMPARED, [""]), dtype={"member": "str"}
        )
        numbers = MEASURED + [name for name in COMPARED if name in scores]
        scores = scores[["member", *numbers]].astype(dict.fromkeys(numbers, float))
    except (ValueError, KeyError, FileNotFoundError) as error:
        remedy = "make the run again by src/blend.py --overwrite"
        raise ValueError(f"{file} holds no scores of members: {remedy}") from error
    return scores.to_html(index=False, float_format="{:.4f}".format, border=0, na_rep="")


def learning_curves(runs: list[Run]) -> str:
    """PNG, base64: valid Avg-Cos by epoch of each run that logged more than one."""
    from matplotlib.figure import Figure  # an extra

    figure = Figure(figsize=(7, 3.2))
    axes = figure.subplots()
    for run in runs:
        events = [event for event in run.events() if "avg_cos" in event and "epoch" in event]
        if events:
            epochs, scores = ([event[name] for event in events] for name in ("epoch", "avg_cos"))
            axes.plot(np.array(epochs) + 1, scores, marker="o", label=label(run.name))
        elif score := run.info.get("summary", {}).get("avg_cos"):  # of a run that is not finished there is none
            colour = f"C{len(axes.lines)}"
            axes.axhline(score, linestyle=":", color=colour, label=label(f"{run.name} (not trained)"))
    axes.set(xlabel="epochs of fine-tuning (0: head alone)", ylabel="valid Avg-Cos")
    axes.legend(fontsize=8)
    with io.BytesIO() as buffer:
        figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
        return base64.b64encode(buffer.getvalue()).decode()


def pictures(train, valid, predictions: dict[str, Embeddings], cosines: pd.DataFrame, count: int) -> list[dict]:
    """What the page shows of so many images, evenly spread from the last model's best to its worst."""
    order = np.argsort(-cosines.iloc[:, -1].to_numpy(), kind="stable")
    rows = order[np.linspace(0, len(order) - 1, min(count, len(order))).astype(int)]
    captions = valid.dataset.caption_lists()
    train_captions = train.dataset.captions["caption"].to_numpy()
    vectors = np.ascontiguousarray(train.targets.vectors)
    k = min(NEAREST * 4, len(vectors))
    nearest = {n: faiss.knn(np.ascontiguousarray(p.vectors[rows]), vectors, k, faiss.METRIC_INNER_PRODUCT)
               for n, p in predictions.items()}  # fmt: skip
    shown = []
    for place, row in enumerate(rows):
        image = valid.dataset.images.iloc[row]
        models = [
            {
                "name": name,
                "cosine": cosines.iloc[row][name],
                # The same sentence can describe several images: it is listed once.
                "nearest": list(dict(zip(train_captions[found[place]], similarity[place])).items())[:NEAREST],
            }
            for name, (similarity, found) in nearest.items()
        ]
        jpeg = jpeg_base64(image["path"], 320)
        shown.append({"id": image["id"], "jpeg": jpeg, "captions": captions[image["id"]], "models": models})
    return shown


def captioned(file: str, count: int) -> list[dict]:
    """What the page shows of the first `count` pictures and videos in a JSON file of caption.py."""
    path = existing(file)
    remedy = f"make it with caption.py --out {file}"
    if not path.is_file():
        raise FileNotFoundError(f"no file {file}: {remedy}")
    items = read_json(path)
    if not isinstance(items, list) or not all(map(is_captioned, items)):
        raise ValueError(f"{file} is no JSON of captions with their neighbours and pictures: {remedy}")
    return [
        {
            "name": item["image_id"],
            "caption": item["caption"],
            "nearest": item["neighbours"][:NEAREST],
            "jpegs": [jpeg_base64(picture, 224 if len(item["pictures"]) == 1 else 74) for picture in item["pictures"]],
        }
        for item in items[:count]
    ]


def is_captioned(item) -> bool:
    """Whether this is an entry of what caption.py writes as JSON."""
    if not isinstance(item, dict):
        return False
    near, files = item.get("neighbours"), item.get("pictures")
    if not isinstance(near, list) or not isinstance(files, list) or not files:
        return False
    pairs = all(isinstance(pair, list) and [is_of(part, kind) for part, kind in zip(pair, (TEXT, NUMBER))] == [True] * 2
                for pair in near)  # fmt: skip
    return pairs and all(is_of(text, TEXT) for text in (item.get("image_id"), item.get("caption"), *files))
