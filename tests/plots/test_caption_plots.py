from types import SimpleNamespace

from clipknight.captioning.captioner import Captions
from clipknight.data.images import read_image
from clipknight.plots.caption_plots import explanation, tsne_map

import numpy as np
import pytest


@pytest.fixture(scope="module")
def captioner():
    """What the plots read of one: three far groups of six captions."""
    draw = np.random.default_rng(0)
    vectors = np.repeat(10 * np.eye(3, 8), 6, axis=0) + draw.standard_normal((18, 8))
    corpus = SimpleNamespace(texts=np.array([f"caption {i}" for i in range(18)], dtype=object))
    return SimpleNamespace(retriever=SimpleNamespace(corpus=corpus, vectors=vectors))


@pytest.fixture(scope="module")
def said():
    """Of each image the captions of one group."""
    return Captions(
        [f"said {i}" for i in range(3)], np.arange(18).reshape(3, 6), np.linspace(0.9, 0.4, 18).reshape(3, 6)
    )


def test_the_picture_its_caption_and_its_neighbours(coloured, captioner, said):
    path = str(coloured / "Images" / "train01.png")
    picture, bars = explanation(path, said, 1, captioner).axes
    np.testing.assert_array_equal(picture.images[0].get_array(), np.asarray(read_image(path)))
    assert picture.get_title() == "said 1"
    assert [text.get_text() for text in bars.texts] == [f"caption {i}" for i in range(6, 12)]
    np.testing.assert_allclose([bar.get_width() for bar in bars.patches], said.similarities[1])
    assert bars.patches[0].get_y() > bars.patches[5].get_y()  # the nearest on top


def test_a_caption_lies_among_its_neighbours(captioner, said):
    asked = []

    def encode(texts):
        asked.append(list(texts))
        return captioner.retriever.vectors.reshape(3, 6, 8).mean(axis=1)

    (axes,) = tsne_map(said, captioner, encode).axes
    dots, rings = axes.collections[::2], axes.collections[1::2]
    assert asked == [said.texts] and [text.get_text() for text in axes.texts] == said.texts
    assert [len(group.get_offsets()) for group in dots] == [6] * 3
    middles = np.stack([group.get_offsets().mean(axis=0) for group in dots])
    for own, ring in enumerate(rings):
        away = np.linalg.norm(middles - ring.get_offsets()[0], axis=1)
        assert away.argmin() == own
