"""Pictures of an ensemble: where its members differ, what goes with errors, its weights, folds, ladder of scores."""

from collections.abc import Mapping, Sequence
from textwrap import fill

from clipknight.data.images import read_image
from clipknight.embedding.clip_encoder import ClipEncoder
from clipknight.ensemble.training_images import TrainingImages, training_transform
from clipknight.plots.error_analysis import binned, calibration_error
from clipknight.plots.labels import label, shown
from clipknight.training.runs import Run

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure


def disagreement_plot(cosine: np.ndarray, scores: pd.DataFrame) -> Figure:
    """Each image's scores, a colour a model (columns of `scores`), by the `cosine` (N,) between two predictions."""
    figure, axes = _figure(7, 3.6)
    for i, (name, score) in enumerate(scores.items()):
        axes.scatter(cosine, score, s=8, alpha=0.35, color=f"C{i}", linewidths=0)
        _line(axes, binned(cosine, score), "score", f"C{i}", label(name))
    axes.set(xlabel="cosine between the two predictions", ylabel="score of the image")
    axes.legend()
    return figure


def picture_grid(pictures: Sequence[str | np.ndarray], texts: Sequence[str], columns: int = 4) -> Figure:
    """Pictures (paths, or (H, W, 3)) under their texts."""
    rows = -(-len(pictures) // columns)
    figure, axes = _figure(3 * columns, 3.8 * rows, rows, columns)
    for ax in np.ravel(axes):
        ax.axis("off")
    for ax, picture, text in zip(np.ravel(axes), pictures, texts):
        ax.imshow(read_image(picture) if isinstance(picture, str) else picture)
        lines = [fill(line, 52, subsequent_indent="  ") for line in shown(text).split("\n")]
        ax.set_title("\n".join(lines), fontsize=7.5, loc="left")
    return figure


def errors_plot(by: Mapping[str, np.ndarray], scores: pd.DataFrame) -> Figure:
    """One panel for each of `by` (N,): the mean score of each model in bins of it, with two standard errors."""
    figure, panels = _figure(4 * len(by), 3.2, 1, len(by), sharey=True)
    for ax, (sign, values) in zip(np.ravel(panels), by.items()):
        table = binned(values, scores)
        for i, name in enumerate(scores):
            _line(ax, table, name, f"C{i}", label(name))
        ax.set(xlabel=sign)
    np.ravel(panels)[0].set(ylabel="mean cosine")
    np.ravel(panels)[0].legend(fontsize=8)
    return figure


def reliability_plot(signs: Mapping[str, np.ndarray], scores: np.ndarray, expected: np.ndarray) -> Figure:
    """A panel a sign (N,) of certainty: images' mean `scores` (N,) in bins of it. Last, by their `expected` score (N,).

    ρ is Spearman's rank correlation; on the dashed line the expected score is the true one.
    """
    figure, panels = _figure(3.4 * (len(signs) + 1), 3.2, 1, len(signs) + 1, sharey=True)
    scores = pd.Series(np.asarray(scores), name="score")
    for ax, (sign, values) in zip(panels, {**signs, "expected score": expected}.items()):
        _line(ax, binned(values, scores), "score", "C0")
        ax.set(xlabel=sign, title=f"ρ = {scores.corr(pd.Series(np.asarray(values)), method='spearman'):.2f}")
    span = [min(expected), max(expected)]
    panels[-1].plot(span, span, "--", color="grey")
    panels[-1].set_title(f"{panels[-1].get_title()}, off by {calibration_error(expected, scores.to_numpy()):.3f}")
    panels[0].set(ylabel="mean score of the images")
    return figure


def weights_plot(run: Run) -> Figure:
    """The weight of each member of a blend as a bar, and as dots the weights that its folds were blended by."""
    members, weights = run.info["members"], run.info["weights"]
    figure, axes = _figure(7, 0.5 * len(members) + 1)
    places = np.arange(len(members))[::-1]
    axes.barh(places, weights, color="#9dc3e6", label=run.info["weights_from"])
    folds = [event["weights"] for event in run.events() if "fold" in event]
    for fold in folds:
        axes.plot(fold, places, "o", color="C3", markersize=4, label="each fold" if fold is folds[0] else None)
    axes.set(yticks=places, yticklabels=[label(name) for name in members], xlabel="weight")
    axes.legend(fontsize=8)
    return figure


def ladder_plot(ladder: Sequence[Mapping]) -> Figure:
    """The rows of `score.py ladder` from top to bottom: the score, and what it gained over the one before."""
    figure, axes = _figure(8, 0.45 * len(ladder) + 1)
    scores = [rung["avg_cos"] for rung in ladder]
    places = np.arange(len(ladder))[::-1]
    colours = ["C2" if now >= before else "C3" for before, now in zip(scores, scores[1:])]
    axes.hlines(places[1:], scores[:-1], scores[1:], colours, linewidth=3, alpha=0.6)
    axes.plot(scores, places, "o", color="C0")
    for place, rung in zip(places, ladder):
        gain = "" if rung["gain"] is None else f"  ({rung['gain']:+.4f})"
        axes.annotate(f"{rung['avg_cos']:.4f}{gain}", (rung["avg_cos"], place), (8, -3), textcoords="offset points",
                      fontsize=8)  # fmt: skip
    axes.set(yticks=places, yticklabels=[label(rung["label"]) for rung in ladder], xlabel="valid Avg-Cos")
    axes.margins(x=0.3)
    return figure


def coverage_plot(curve: Sequence[Mapping]) -> Figure:
    """The points of `score.py coverage`: CIDEr of the captions kept, by how many of all they are."""
    figure, axes = _figure(5, 3.2)
    axes.plot([100 * point["share"] for point in curve], [100 * point["cider"] for point in curve], "o-")
    for point in curve:
        place = (100 * point["share"], 100 * point["cider"])
        axes.annotate(f"{point['least']:.2f}", place, (4, 5), textcoords="offset points", fontsize=8)
    axes.margins(x=0.12, y=0.1)
    axes.set(xlabel="% of the captions, those of at least this confidence", ylabel="CIDEr")
    return figure


def folds_plot(study: Mapping) -> Figure:
    """What fold_study.py found: the score of each model by random folds and by folds of similar captions."""
    scored = [found for found in study["thresholds"] if "grouped" in found]
    figure, panels = _figure(4.5 * len(study["random"]), 3.2, 1, len(study["random"]), sharey=True)
    places = np.arange(len(scored))
    for ax, model in zip(np.ravel(panels), study["random"]):
        for shift, folds in ((-0.2, "random"), (0.2, "grouped")):
            ax.bar(places + shift, [found[folds][model] for found in scored], 0.38, label=f"{folds} folds")
        ax.axhline(study["valid"][model], linestyle="--", color="grey", label="valid")
        labels = [f"{f['threshold']:g}\n{f['largest_groups'][0] / study['images']:.0%}" for f in scored]
        ax.set(xticks=places, xticklabels=labels, title=model, xlabel="threshold, and share of the largest group")
    np.ravel(panels)[0].set(ylabel="Avg-Cos out of fold")
    figure.legend(*np.ravel(panels)[0].get_legend_handles_labels(), fontsize=8, loc="outside upper center", ncols=3)
    return figure


def augmentation_plot(path: str, encoder: ClipEncoder, epochs: int = 7, seed: int = 0, **how) -> Figure:
    """An image and what a training sees of it in its first epochs. `how`: rotation, flip and crop of train_a.py."""
    seen = TrainingImages([path], training_transform(encoder, **how), seed)
    cfg = encoder.preprocess_cfg
    pixels = [seen[epoch, 0][0].numpy().transpose(1, 2, 0) * cfg.std + cfg.mean for epoch in range(epochs)]
    names = [f"epoch {epoch + 1}" for epoch in range(epochs)]
    return picture_grid([path, *(np.clip(p, 0, 1) for p in pixels)], ["the file", *names])


def _figure(width: float, height: float, rows: int = 1, columns: int = 1, **options):
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, **options)


def _line(axes: Axes, table: pd.DataFrame, column: str, colour: str, label: str | None = None) -> None:
    """A column of a `binned` table with two standard errors."""
    axes.errorbar(
        table["at", "mean"], table[column, "mean"], 2 * table[column, "sem"], color=colour, marker="o", markersize=4,
        capsize=2, label=label,
    )  # fmt: skip
