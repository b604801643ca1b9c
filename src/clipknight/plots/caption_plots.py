"""Pictures of why a caption was said: its nearest captions, and where all of them lie."""

from collections.abc import Callable, Sequence

from clipknight.captioning.captioner import Captioner, Captions
from clipknight.data.images import read_image
from clipknight.embedding.embeddings import unit
from clipknight.plots.labels import shown

import numpy as np
from matplotlib.figure import Figure
from sklearn.manifold import TSNE


def explanation(path: str, captions: Captions, row: int, captioner: Captioner) -> Figure:
    """A picture under its caption, beside the corpus captions nearest to its embedding and their cosines."""
    figure = Figure(figsize=(11, 3))
    picture, bars = figure.subplots(1, 2, width_ratios=(1, 2))
    picture.imshow(read_image(path))
    picture.set_title(shown(captions.texts[row]), fontsize=9, wrap=True)
    picture.axis("off")
    texts = captioner.retriever.corpus.texts[captions.neighbours[row]]
    places = np.arange(len(texts))[::-1]
    bars.barh(places, captions.similarities[row], color="#9dc3e6")
    for place, text in zip(places, texts):
        bars.text(0.01, place, shown(text), va="center", fontsize=8)
    bars.set(yticks=[], xlabel="cosine of image embedding and caption", xlim=(0, 1))
    bars.spines[["top", "right", "left"]].set_visible(False)
    return figure


def tsne_map(
    captions: Captions, captioner: Captioner, encode: Callable[[Sequence[str]], np.ndarray], seed: int = 0
) -> Figure:
    """Neighbours of a few images as dots, a colour an image, the generated caption ringed (Knight, Fig. 4b).

    `encode` gives the vectors of captions in the corpus' space: where the ring lies among its dots, the decoder says
    what its prefix says; far from them, it adds or forgets.
    """
    images, k = captions.neighbours.shape
    neighbours = np.asarray(captioner.retriever.vectors)[captions.neighbours].reshape(images * k, -1)
    rows = np.concatenate([unit(neighbours), unit(np.asarray(encode(captions.texts)))])
    perplexity = min(30, max(2, k - 1), len(rows) - 1)
    places = TSNE(perplexity=perplexity, metric="cosine", init="random", random_state=seed).fit_transform(rows)
    figure = Figure(figsize=(8, 6))
    axes = figure.subplots()
    for i, text in enumerate(captions.texts):
        colour = f"C{i % 10}"
        own = places[i * k : (i + 1) * k]
        axes.scatter(own[:, 0], own[:, 1], s=18, color=colour)
        x, y = places[images * k + i]
        axes.scatter(x, y, s=110, facecolors="none", edgecolors=colour, linewidths=2)
        axes.annotate(shown(text), (x, y), textcoords="offset points", xytext=(7, 5), fontsize=7, color=colour)
    axes.set(xticks=[], yticks=[], title="neighbours (dots) and generated captions (rings)")
    return figure
