"""The card of a run, README.md: what it is and how good, for people, under a header that the hub reads."""

from pathlib import Path

from clipknight.files import atomic_file
from clipknight.messages import as_typed

import yaml

FILE = "README.md"
WHAT = {
    "model_a": "Model A: a CLIP image encoder, fine-tuned under a head, predicts the text embedding of a caption.",
    "model_b": "Model B: the text embeddings of an image's nearest neighbours, averaged; nothing was trained.",
    "concepts": "A recogniser's concepts: their text embeddings, weighted by how probable each is in an image.",
    "refined": "Another run's predictions, each replaced by the weighted mean of the captions nearest to it.",
    "blend": "An ensemble: the weighted mean of its members' predictions of a caption's text embedding.",
    "bands": "An ensemble: its members' predictions, weighted by bands of the targets' principal components.",
    "gate": "An ensemble: its members' predictions, weighted for each image by how sure they are and how they agree.",
    "clip": "A CLIP whose image encoder was adapted to a dataset; its text encoder stays as it was.",
    "knight": "A language model that captions images by the captions nearest to them; it learnt from text alone.",
    "maccap": "A language model that captions images by their sub-regions (MacCap); it learnt from text alone.",
}
CAPTIONS = ("knight", "maccap")
PREDICTS = ("model_a", "model_b", "concepts", "refined", "blend", "bands", "gate")
USE = {True: "caption.py photo.jpg --run {run}", False: "predict.py --run {run} --images IMAGES --out ROWS"}
LIMITS = """It knows what its training data shows; of other pictures it says something likely and wrong. Scores are of
the split named above; where epochs, weights or settings were chosen on that split, they flatter a little."""
OF_CAPTIONS = """Captions invent details, count badly, and repeat their corpus' habits of guessing gender and age from
looks. Do not use them where a wrong sentence does harm."""


def write_card(run) -> None:
    """Write the card of a finished run into its folder."""
    with atomic_file(run.folder / FILE) as temporary:
        temporary.write_text(card_of(run, run.name), encoding="utf-8")


def card_of(run, used_as: str, licence: str = "other", more: str = "", kind: str = "") -> str:
    """The text of a run's card; commands name it as `used_as`, and `more` is a section of it.

    `kind` is given for old runs that do not say it.
    """
    info, settings, name = run.info, run.settings, run.folder.name
    summary, kind, data = info.get("summary", {}), run.kind or kind, _dataset(settings | info.get("dataset", {}))
    parts = [
        f"# {name}",
        WHAT.get(kind, "A run of clipknight."),
        f"```\npython src/{USE[kind in CAPTIONS].format(run=used_as)}\n```" if kind in (*CAPTIONS, *PREDICTS) else "",
        f"## Data\n\nLearnt from {data}{_counts(summary)}.",
        f"## Scores\n\nOf the valid split{_origin(info)}:\n\n{_table(_scores(summary))}" if _scores(summary) else "",
        f"## Members\n\n{_members(summary)}" if summary.get("members") else "",
        more,
        f"## Settings\n\n```yaml\n{_shown(settings)}```",
        f"## Machine\n\n{', '.join(f'{key} {value}' for key, value in info.get('machine', {}).items())}.",
        f"## Licence\n\n{_terms(licence)}",
        f"## Limits\n\n{LIMITS}" + (f" {OF_CAPTIONS}" if kind in CAPTIONS else ""),
    ]
    text = "\n\n".join(filter(None, parts))
    return f"---\n{_header(name, kind, data, summary, licence)}\n---\n\n{as_typed(text)}\n"


def _header(name: str, kind: str, data: str, summary: dict, licence: str) -> str:
    """The hub's YAML."""
    from huggingface_hub import EvalResult, ModelCardData

    task = "image-to-text" if kind in CAPTIONS else "image-feature-extraction"
    of_data = {"task_type": task, "dataset_type": data, "dataset_name": data, "dataset_split": "valid"}
    results = [EvalResult(metric_type=m, metric_value=v, **of_data) for m, v in _scores(summary).items()]
    scored = {"model_name": name, "eval_results": results} if results else {}
    tags = ["clipknight", *([kind.replace("_", "-")] if kind else [])]
    about = {"library_name": "clipknight", "pipeline_tag": task, "tags": tags, "license": licence}
    return ModelCardData(**about, **scored).to_yaml()


def _dataset(settings: dict) -> str:
    """The name of what a run learnt from, without the folders above it."""
    named = [settings.get("data", ""), *settings.get("corpus", [])]
    return ", ".join(Path(source).name for source in named if source) or "data that is not named"


def _scores(summary: dict) -> dict[str, float]:
    """The measures among what a run was finished with; `score` is one of the others again."""
    return {name: round(v, 4) for name, v in summary.items() if isinstance(v, float) and name != "score"}


def _counts(summary: dict) -> str:
    counts = [(name, v) for name, v in summary.items() if isinstance(v, int) and "_" in name]
    return ": " + ", ".join(f"{name.replace('_', ' ')} {value:,}" for name, value in counts) if counts else ""


def _origin(info: dict) -> str:
    return f", weights {info['weights_from']}" if info.get("weights_from") else ""


def _members(summary: dict) -> str:
    weights = summary.get("weights", {})
    rows = [f"| {name} | {score:.4f} | {weights.get(name, 0):.3f} |" for name, score in summary["members"].items()]
    return "\n".join(["| member | Avg-Cos | weight |", "|---|---:|---:|", *rows])


def _table(scores: dict[str, float]) -> str:
    return "\n".join(["| measure | value |", "|---|---:|", *(f"| {n} | {v:.4f} |" for n, v in scores.items())])


def _shown(settings: dict) -> str:
    """Settings as YAML, paths without the folders above them, which are of one machine."""
    values = {name: Path(v).name if isinstance(v, str) and v.startswith("/") else v for name, v in settings.items()}
    return yaml.safe_dump({n: v for n, v in values.items() if v not in ("", [])}, sort_keys=False, allow_unicode=True)


def _terms(licence: str) -> str:
    if licence != "other":
        return f"{licence}, as its maker states. What it was made from has terms of its own."
    return (
        "Not stated: whoever publishes it names one, in the header of this file too, that the data, the encoder and "
        "the captions it was made from allow (docs/licences.md of clipknight)."
    )
