import importlib.util

from clipknight.data.images import read_image
from clipknight.data.sample_photos import PHOTOS, sample_photos

import pytest


def test_every_photograph_is_there_and_readable():
    photos = sample_photos()
    assert list(photos) == [f"scikit-image/{name}" for name in PHOTOS] and len(photos) == 11
    assert all(min(read_image(path).size) >= 300 for path in photos.values())


def test_without_the_package(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match=r"pip install .clipknight\[sample\]"):
        sample_photos()
