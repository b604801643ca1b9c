from clipknight.sample.scenes import draw_scenes

import pytest


@pytest.fixture(scope="session")
def scenes():
    return draw_scenes(300, seed=1)
