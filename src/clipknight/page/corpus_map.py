"""A map of a corpus: its captions in the plane of their embeddings' two main directions, and a picture's place."""

from dataclasses import dataclass
from html import escape

from clipknight.captioning.retriever import Retriever
from clipknight.embedding.embeddings import unit

import numpy as np
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.feature_extraction.text import TfidfVectorizer

SAMPLE, WORDS = 1500, 10  # captions drawn as points, and places that a word names
WIDTH, HEIGHT, EDGE = 560, 340, 14  # of the drawing


@dataclass(frozen=True, eq=False)
class CorpusMap:
    """`plane` fitted to all captions, `points` (SAMPLE, 2) of some, `words` that name regions, with their places."""

    plane: PCA
    points: np.ndarray
    words: list[tuple[str, np.ndarray]]

    @classmethod
    def of(cls, retriever: Retriever) -> "CorpusMap":
        """The map of the captions that a run retrieves from: a second of work for 30,000."""
        texts = retriever.corpus.texts
        plane = PCA(2, svd_solver="covariance_eigh").fit(retriever.vectors)
        rows = np.random.default_rng(0).permutation(len(texts))[:SAMPLE]
        points = plane.transform(retriever.vectors[rows])
        return cls(plane, points, _words_of_regions([texts[row] for row in rows], points))

    def places(self, vectors: np.ndarray) -> np.ndarray:
        """(N, 2) places of embeddings (N, D)."""
        return self.plane.transform(unit(vectors))

    def drawing(self, picture: np.ndarray, neighbours: np.ndarray, captions: list[str]) -> str:
        """SVG with the picture's place (D,) and those of the captions nearest to it (N, D)."""
        places = np.concatenate([self.points, self.places(picture[None]), self.places(neighbours)])
        low, high = places.min(axis=0), places.max(axis=0)
        room = np.array([WIDTH, HEIGHT]) - 2 * EDGE

        def at(place: np.ndarray) -> tuple[float, float]:
            x, y = EDGE + room * (place - low) / np.maximum(high - low, 1e-9)
            return round(float(x), 1), round(HEIGHT - float(y), 1)

        dots = "".join(f'<circle cx="{x}" cy="{y}" r="1.6"/>' for x, y in map(at, self.points))
        words = "".join(f'<text x="{x}" y="{y}">{escape(word)}</text>' for word, (x, y) in _at(self.words, at))
        near = "".join(
            f'<circle cx="{x}" cy="{y}" r="4.5"><title>{escape(caption)}</title></circle>'
            for caption, (x, y) in _at(zip(captions, self.places(neighbours)), at)
        )
        x, y = at(self.places(picture[None])[0])
        return (
            f'<svg class="map" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="The picture among the captions">'
            f'<g class="corpus">{dots}</g><g class="words">{words}</g><g class="near">{near}</g>'
            f'<path class="picture" d="M{x} {y - 9}L{x + 9} {y}L{x} {y + 9}L{x - 9} {y}Z"/></svg>'
        )


def _at(named, at) -> list[tuple[str, tuple[float, float]]]:
    return [(name, at(place)) for name, place in named]


def _words_of_regions(texts: list[str], points: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """The word that tells each region's captions best from the others', and the region's middle."""
    regions = KMeans(min(WORDS, len(texts)), n_init=1, random_state=0).fit(points)
    together = [
        " ".join(text for text, label in zip(texts, regions.labels_) if label == region)
        for region in range(regions.n_clusters)
    ]
    counted = TfidfVectorizer(stop_words="english", sublinear_tf=True)
    try:
        weights = counted.fit_transform(together).toarray()
    except ValueError:  # captions of stop words alone
        return []
    names, found = counted.get_feature_names_out(), {}
    for region in np.argsort(-np.bincount(regions.labels_)):
        rising = np.argsort(weights[region])
        new = [str(names[i]) for i in rising[::-1] if weights[region, i] > 0 and names[i] not in found]
        if new:
            found[new[0]] = regions.cluster_centers_[region]
    return list(found.items())
