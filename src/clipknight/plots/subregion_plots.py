"""Pictures of sub-regions on a photograph, and of the gap between images and their captions."""

from clipknight.data.images import read_image
from clipknight.embedding.clip_encoder import ClipEncoder
from clipknight.embedding.embeddings import unit
from clipknight.embedding.subregions import subregion_features
from clipknight.plots.labels import shown

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from scipy import stats

MACCAP_NOISE = 0.016  # variance that MacCap and CapDec add to each number of a caption's embedding to bridge the gap
FEWEST_PAIRS = 20  # the kurtosis test has no distribution below


def overlay(path: str, encoder: ClipEncoder, regions: int = 10, caption: str = "") -> Figure:
    """The photograph as the encoder sees it, under its attention, with the cells that lead a region in their order.

    With a `caption`, the cell of the region nearest to it is filled, and the title compares that region to the whole.
    """
    pixels = encoder.preprocess(read_image(path, encoder.decoded_size))[None]
    found = subregion_features(encoder, pixels, regions)
    photo = _as_seen(pixels[0], encoder)
    height, width = photo.shape[:2]
    figure = Figure(figsize=(8, 4.4), layout="constrained")
    plain, heat = figure.subplots(1, 2)
    plain.imshow(photo)
    heat.imshow(photo)
    shade = heat.imshow(found.attention[0], extent=(0, width, height, 0), cmap="inferno", alpha=0.55)
    figure.colorbar(shade, ax=heat, shrink=0.7, label="attention")
    nearest = None
    if caption:
        vector = encoder.encode_captions([caption])[0]
        cosines = found.regions[0] @ vector
        nearest = int(cosines.argmax())
        title = f"whole {found.whole[0] @ vector:.2f}, region {nearest + 1} {cosines[nearest]:.2f}"
        figure.suptitle(f"{shown(caption)}\ncosine: {title}", fontsize=9, wrap=True)
    for axes in (plain, heat):
        axes.set(xlim=(0, width), ylim=(height, 0))
        axes.axis("off")
        _outline(axes, found.cells[0], found.attention.shape[1:], (height, width), nearest)
    return figure


def _outline(axes: Axes, cells: np.ndarray, grid: tuple[int, int], size: tuple[int, int], nearest: int | None) -> None:
    tall, wide = size[0] / grid[0], size[1] / grid[1]
    for place, cell in enumerate(cells):
        row, column = divmod(int(cell), grid[1])
        chosen = place == nearest
        colour = (0.2, 1, 0.4, 0.35) if chosen else "none"
        edge = "lime" if chosen else "white"
        corner = (column * wide, row * tall)
        axes.add_patch(Rectangle(corner, wide, tall, facecolor=colour, edgecolor=edge, linewidth=1.5))
        label = {"color": "white", "fontsize": 7, "va": "top", "bbox": {"facecolor": "black", "alpha": 0.6, "pad": 1}}
        axes.text(corner[0] + wide / 8, corner[1] + tall / 8, str(place + 1), **label)


def _as_seen(pixels: torch.Tensor, encoder: ClipEncoder) -> np.ndarray:
    """(H, W, 3) in 0 to 1, the preprocessing's scaling undone."""
    mean, deviation = (np.array(v) for v in (encoder.preprocess_cfg.mean, encoder.preprocess_cfg.std))
    return (pixels.permute(1, 2, 0).numpy() * deviation + mean).clip(0, 1)


def gap_statistics(image_vectors: np.ndarray, caption_vectors: np.ndarray) -> dict[str, float]:
    """The gap, unit image embedding − unit caption embedding, over pairs (N, D): its mean, covariance and normality.

    `mean_norm` of a zero-mean gap is about `mean_norm_by_chance`; `mean_share` is the mean's part of the gap's squared
    length, `trace` the rest. `effective_dimensions` is D for a covariance of equal variances, 1 for a line.
    `normality_rejected` is the share of dimensions where D'Agostino and Pearson's test has p < .05: .05 if normal. It
    nears 1 with many pairs: `skew` and `excess_kurtosis` (mean sizes, near 0 if normal) tell how far from normal it is.
    ValueError for unequal shapes and for fewer than 20 pairs.
    """
    gap = _gap(image_vectors, caption_vectors)
    mean, covariance = gap.mean(axis=0), np.cov(gap, rowvar=False)
    trace = float(np.trace(covariance))
    varying = gap[:, np.diag(covariance) > 1e-12]
    return {
        "pairs": len(gap),
        "dimensions": gap.shape[1],
        "mean_norm": float(np.linalg.norm(mean)),
        "mean_norm_by_chance": float(np.sqrt(trace / len(gap))),
        "mean_share": float(mean @ mean / (mean @ mean + trace)),
        "trace": trace,
        "variance": trace / gap.shape[1],
        "first_component_share": float(np.linalg.eigvalsh(covariance)[-1] / trace),
        "effective_dimensions": float(trace**2 / (covariance**2).sum()),
        "normality_rejected": float((stats.normaltest(varying).pvalue < 0.05).mean()),
        "skew": float(np.abs(stats.skew(varying)).mean()),
        "excess_kurtosis": float(np.abs(stats.kurtosis(varying)).mean()),
    }


def gap_figure(image_vectors: np.ndarray, caption_vectors: np.ndarray) -> Figure:
    """The gap of pairs (N, D): mean and deviation of each dimension, covariance, quantiles beside a normal's."""
    gap = _gap(image_vectors, caption_vectors)
    mean, deviation, covariance = gap.mean(axis=0), gap.std(axis=0, ddof=1), np.cov(gap, rowvar=False)
    figure = Figure(figsize=(13, 4), layout="constrained")
    means, matrix, quantiles = figure.subplots(1, 3)

    dimensions = np.arange(len(mean))
    means.fill_between(dimensions, mean - deviation, mean + deviation, color="#9dc3e6", label="± one deviation")
    means.plot(dimensions, mean, color="#1f4e79", linewidth=0.8, label="mean")
    means.axhline(0, color="black", linewidth=0.8)
    means.set(title=f"mean, length {np.linalg.norm(mean):.3f}", xlabel="dimension")
    means.legend(frameon=False, fontsize=8)

    limit = np.abs(covariance).max()
    shade = matrix.imshow(covariance, cmap="RdBu_r", vmin=-limit, vmax=limit)
    figure.colorbar(shade, ax=matrix, shrink=0.8)
    variance = np.trace(covariance) / len(mean)
    matrix.set(title=f"covariance, mean variance {variance:.5f}\n(noise of MacCap: {MACCAP_NOISE})")

    varying = deviation > 1e-6
    standard = ((gap - mean)[:, varying] / deviation[varying]).ravel()
    places = (np.arange(1000) + 0.5) / 1000
    expected = stats.norm.ppf(places)
    quantiles.plot(expected, expected, color="black", linewidth=0.8, label="normal")
    quantiles.plot(expected, np.quantile(standard, places), ".", markersize=3, color="#1f4e79", label="all dimensions")
    quantiles.set(title="quantiles", xlabel="of a normal distribution", ylabel="of the gap, standardised")
    quantiles.legend(frameon=False, fontsize=8)
    return figure


def _gap(image_vectors: np.ndarray, caption_vectors: np.ndarray) -> np.ndarray:
    if image_vectors.shape != caption_vectors.shape or image_vectors.ndim != 2:
        raise ValueError(f"pairs are rows: images {image_vectors.shape}, captions {caption_vectors.shape}")
    if len(image_vectors) < FEWEST_PAIRS:
        raise ValueError(f"{len(image_vectors)} pairs tell nothing of a distribution: give {FEWEST_PAIRS} or more")
    return unit(image_vectors.astype(np.float64)) - unit(caption_vectors.astype(np.float64))
