"""Images and videos side by side: which rows belong to which, and which pictures show them."""

from clipknight.captioning.media_set import MediaSet
from clipknight.data.datasets import listed_images
from clipknight.embedding.embeddings import UNFAMILIAR, Embeddings

import numpy as np
import pytest
from PIL import Image

NAMES = ["a.png", "v-1.png", "b.png", "v-2.png", "w-1.png", "w-2.png"]
CLIPS = {"w.mp4": ["w-1.png", "w-2.png"], "v.mp4": ["v-1.png", "v-2.png"]}


@pytest.fixture
def media():
    return MediaSet(listed_images({name: f"/pictures/{name}" for name in NAMES}), CLIPS)


def test_images_then_videos_with_their_sub_regions(media):
    vectors, regions = np.eye(6, 4, dtype=np.float32), np.arange(72, dtype=np.float32).reshape(6, 3, 4)
    images, videos = media.grouped(Embeddings(NAMES, vectors, regions=regions))
    assert (images[0], videos[0]) == (["a.png", "b.png"], ["w.mp4", "v.mp4"])
    np.testing.assert_array_equal(images[1], vectors[[0, 2]])
    np.testing.assert_array_equal(images[2], regions[[0, 2]])
    np.testing.assert_array_equal(videos[1], vectors[[[4, 5], [1, 3]]])
    np.testing.assert_array_equal(videos[2], regions[[[4, 5], [1, 3]]])


def test_without_sub_regions_and_of_one_kind_alone(media):
    rows = Embeddings(NAMES, np.eye(6, 4, dtype=np.float32))
    assert [regions for _, _, regions in media.grouped(rows)] == [None, None]
    ((names, _, _),) = MediaSet(media.dataset).grouped(rows)
    assert names == NAMES
    ((names, vectors, _),) = media.grouped(rows.aligned_to([name for name in NAMES if "-" in name]))
    assert names == list(CLIPS) and vectors.shape == (2, 2, 4)


def test_how_sure_of_each_image_and_video_a_run_is(media):
    rows = np.eye(6, 4, dtype=np.float32) * 0.4
    rows[0], rows[4:] = [0, 0.7, 0, 0], [[0.3, 0, 0, 0], [0.1, 0, 0, 0]]
    assert media.confidences(Embeddings(NAMES, rows)) == {}  # of most runs the length says nothing
    found = media.confidences(Embeddings(NAMES, rows, {UNFAMILIAR: 0.25}))
    assert found["a.png"].expected == pytest.approx(0.7) and not found["a.png"].unfamiliar
    assert found["w.mp4"].expected == pytest.approx(0.2) and found["w.mp4"].unfamiliar
    assert str(found["a.png"]) == "confidence 0.70"
    assert str(found["w.mp4"]) == "confidence 0.20, unlike anything it has seen"


def test_pictures(media):
    assert media.pictures("a.png") == ["/pictures/a.png"]
    assert media.pictures("v.mp4") == ["/pictures/v-1.png", "/pictures/v-2.png"]


def test_what_is_found(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    media = MediaSet.found([str(tmp_path)], frames=2)
    assert media.dataset.ids.tolist() == ["a.png"] and not media.clips and not media.references
