"""What `import clipknight` offers, and the examples that show it."""

import clipknight

import pytest


def test_all_that_is_public_is_there_and_nothing_else():
    assert set(clipknight.__all__) == set(clipknight._PLACES) <= set(dir(clipknight))
    for name in clipknight.__all__:
        assert getattr(clipknight, name).__name__ == name
    with pytest.raises(AttributeError, match="module 'clipknight' has no attribute 'laod'"):
        _ = clipknight.laod
