"""Runs without settings, in an outputs folder of their own."""

from dataclasses import make_dataclass

from clipknight.training.runs import Run

import pytest


@pytest.fixture
def own_outputs(tmp_path, monkeypatch):
    monkeypatch.setenv("CLIPKNIGHT_OUTPUTS", str(tmp_path))
    return tmp_path


@pytest.fixture
def started(own_outputs):
    def start(name, **info):
        return Run.start(name, make_dataclass("Settings", [])(), "blend", **info)

    return start
