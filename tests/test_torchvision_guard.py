import importlib.util
import sys

from clipknight import torchvision_guard
from clipknight.torchvision_guard import guard_torchvision, guard_when_imported

import pytest
import torch


@pytest.fixture
def unguarded(monkeypatch):
    """As before the first call; what the real one declared lives on."""
    monkeypatch.setattr(torchvision_guard, "_library", None)


def test_torchvision_imports_after_clipknight():
    """As it has in this process, in which conftest.py imports clipknight first."""
    import torchvision.ops  # noqa: F401

    assert hasattr(torch.ops.torchvision, "nms")


def test_it_acts_when_torchvision_is_looked_for_and_once(monkeypatch):
    acted = []
    monkeypatch.setattr(torchvision_guard, "guard_torchvision", lambda: acted.append("acted"))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.delitem(sys.modules, "torchvision")
    for _ in range(2):
        guard_when_imported()
    assert importlib.util.find_spec("wave") is not None and acted == []
    for _ in range(2):
        assert importlib.util.find_spec("torchvision").name == "torchvision"
    assert acted == ["acted"]


def test_what_is_missing_is_declared_and_what_is_there_is_left_alone(monkeypatch, unguarded):
    absent = {"an_absent_operator": "an_absent_operator(Tensor boxes) -> Tensor"}
    monkeypatch.setattr(torchvision_guard, "SCHEMAS", torchvision_guard.SCHEMAS | absent)
    assert guard_torchvision() == ["an_absent_operator"]
    assert str(torch.ops.torchvision.an_absent_operator.default._schema).endswith("(Tensor boxes) -> Tensor")
    assert guard_torchvision() == []


def test_nothing_to_do_without_torchvision(monkeypatch, unguarded):
    monkeypatch.setattr(torchvision_guard.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(torchvision_guard, "SCHEMAS", {"another": "another(Tensor x) -> Tensor"})
    assert guard_torchvision() == []
    assert not hasattr(torch.ops.torchvision, "another")
