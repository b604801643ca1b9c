"""Packages that are missing, too old, or made for another torch; and the starter weights."""

import importlib.metadata

from clipknight.doctor import packages
from clipknight.doctor.packages import core, extras, starter

import pytest


@pytest.fixture
def installed(monkeypatch):
    """Pretend that a package is there in this version, "" for not at all."""
    real = importlib.metadata.version

    def pretend(name: str, version: str) -> None:
        def answer(asked: str) -> str:
            if asked == name and not version:
                raise importlib.metadata.PackageNotFoundError(asked)
            return version if asked == name else real(asked)

        monkeypatch.setattr(importlib.metadata, "version", answer)

    return pretend


def test_here_the_core_is_whole():
    (finding,) = core()
    assert finding.state == "ok" and finding.value.startswith("all ")


@pytest.mark.parametrize("version, found", [("0.1", "0.1 is there"), ("", "not installed")])
def test_a_package_of_the_core(installed, version, found):
    installed("timm", version)
    (finding,) = core()
    assert finding.state == "broken" and finding.remedy == 'pip install "timm>=1.0.20"'
    assert finding.value == f"timm>=1.0.20 is needed, {found}"


def test_torchvision_is_made_for_one_torch(installed):
    installed("torch", "9.9.9+cpu")
    (finding,) = core()
    assert finding.state == "broken" and finding.value.startswith("torch==") and "9.9.9+cpu is there" in finding.value


def test_a_missing_extra_is_no_fault(installed):
    installed("av", "")
    finding = extras()
    assert finding.state == "ok" and "video" in finding.value.partition("; not ")[2]
    assert finding.remedy.startswith('pip install "clipknight[')


def test_the_wheel_knows_the_same_requirements(monkeypatch, tmp_path):
    of_checkout = {extra: [*map(str, needed)] for extra, needed in packages._needed().items()}
    rows = ["Metadata-Version: 2.4", "Name: clipknight"]
    for extra, needed in of_checkout.items():
        rows += [f"Provides-Extra: {extra}"] if extra else []
        rows += [f"Requires-Dist: {one}" + (f"; extra == '{extra}'" if extra else "") for one in needed]
    (tmp_path / "clipknight-1.dist-info").mkdir()
    (tmp_path / "clipknight-1.dist-info" / "METADATA").write_text("\n".join(rows), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(packages, "IN_CHECKOUT", False)
    of_wheel = {extra: [str(one).partition(";")[0] for one in needed] for extra, needed in packages._needed().items()}
    assert of_wheel == of_checkout


def test_the_starter(monkeypatch, tmp_path):
    assert starter().state == "ok" and starter().value.endswith("knight")
    monkeypatch.setattr(packages, "STARTER", str(tmp_path / "none"))
    finding = starter()
    assert finding.state == "broken" and str(tmp_path / "none") in finding.value and finding.remedy
