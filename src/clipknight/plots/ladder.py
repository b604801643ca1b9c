"""The way up: runs in the order in which they were tried, each one's valid Avg-Cos and what it gained over the last.

Read from what the runs saved, so nothing is computed anew; a blend's score is the cross-fitted one.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from clipknight.files import atomic_file
from clipknight.output_names import check_output
from clipknight.plots.settings import LadderSettings
from clipknight.training.runs import Run


def ladder_of_runs(s: LadderSettings) -> list[dict]:
    """the way up: each run's valid Avg-Cos, and what it gained over the one before"""
    from clipknight.plots.ensemble_plots import ladder_plot  # needs an extra

    check_output("--out", s.out, (".json",))
    ladder, out = read_ladder(s.runs, s.labels), Path(s.out)
    print(as_markdown(ladder))
    with atomic_file(out.with_suffix(".md")) as temporary:
        temporary.write_text(as_markdown(ladder) + "\n", encoding="utf-8")
    with atomic_file(out.with_suffix(".png")) as temporary:
        ladder_plot(ladder).savefig(temporary, dpi=120)
    with atomic_file(out) as temporary:
        temporary.write_text(json.dumps(ladder, indent=1), encoding="utf-8")
    print(f"-> {out}")
    return ladder


def read_ladder(names: Sequence[str], labels: Sequence[str] = ()) -> list[dict]:
    """What each run says of its score, under its label (by default its name), and its gain over the one before."""
    if not names:
        raise ValueError("name the runs, the first one first")
    if labels and len(labels) != len(names):
        raise ValueError(f"{len(labels)} labels for {len(names)} runs: give each one a label, or none")
    runs = [Run.open(name) for name in names]
    ladder = [rung(run) for run in runs]
    check_comparable(runs, ladder)
    for i, (step, label) in enumerate(zip(ladder, labels or names)):
        step["label"] = label
        step["gain"] = step["avg_cos"] - ladder[i - 1]["avg_cos"] if i else None
    return ladder


def rung(run: Run) -> dict:
    """What a run says of its score. ValueError for one that is unfinished or has none."""
    score = run.info.get("summary", {}).get("avg_cos")
    if score is None:
        why = "has no valid Avg-Cos" if run.finished else f"has no score, for {run.to_finish()}"
        raise ValueError(f"run {run.name!r} {why}")
    how = run.predictions("valid").meta.get("blended", "")
    return {"run": run.name, "avg_cos": score, "pairs": pairs(run), "seed": run.settings["seed"], "how": how}


def pairs(run: Run) -> int:
    """How many pairs a run was scored on: of a blend that does not say, as many as its members."""
    known = run.info["summary"].get("valid_pairs")
    return known or pairs(Run.open(run.info["members"][0]))


def check_comparable(runs: list[Run], ladder: list[dict]) -> None:
    """ValueError unless all runs were scored on the same images, pairs and targets."""
    first = set(runs[0].predictions("valid").ids)
    for run, step in zip(runs, ladder):
        if set(run.predictions("valid").ids) != first or step["pairs"] != ladder[0]["pairs"]:
            what = "images" if step["pairs"] == ladder[0]["pairs"] else f"pairs ({step['pairs']:,})"
            raise ValueError(f"run {run.name!r} was scored on other {what} than {runs[0].name!r}: no common ladder")
        if (encoder := run.settings["target_encoder"]) != (other := runs[0].settings["target_encoder"]):
            raise ValueError(f"run {run.name!r} predicts {encoder!r}, {runs[0].name!r} {other!r}: no common ladder")


def cell(text: str) -> str:
    """Text in one cell of a Markdown table."""
    return " ".join(str(text).split()).replace("|", "\\|")


def as_markdown(ladder: list[dict]) -> str:
    """The table, the best score in bold."""
    best = max(step["avg_cos"] for step in ladder)
    lines = ["| | valid Avg-Cos | gain | pairs | seed | |", "|---|---:|---:|---:|---:|---|"]
    for step in ladder:
        label = cell(step["label"])
        score = f"**{step['avg_cos']:.4f}**" if step["avg_cos"] == best else f"{step['avg_cos']:.4f}"
        gain = "" if step["gain"] is None else f"{step['gain']:+.4f}"
        lines.append(f"| {label} | {score} | {gain} | {step['pairs']:,} | {step['seed']} | {step['how']} |")
    return "\n".join(lines)
