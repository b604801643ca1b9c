"""The report as a user sees it, and its exit status."""

import json

import doctor
from clipknight.caches import CACHES
from clipknight.doctor import packages

import pytest
from huggingface_hub import constants

NAMES = ["Python", "clipknight", "packages", "extras", "starter", "Java", "video", "HEIC", "disk"]
NAMES += [*CACHES, "hub cache", "torch", "device", "precision", "hub"]


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def test_the_table(capsys):
    found = doctor.main([])
    assert [finding.name for finding in found] == NAMES
    lines = [line for line in capsys.readouterr().out.splitlines() if "-> " not in line]
    assert [line[9:21].strip() for line in lines] == NAMES


def test_json_with_something_broken(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(packages, "STARTER", str(tmp_path / "none"))
    with pytest.raises(SystemExit) as end:
        doctor.main(["--json"])
    report = json.loads(capsys.readouterr().out)
    assert end.value.code == 1 and report["broken"] == 1
    broken = [finding for finding in report["findings"] if finding["state"] == "broken"]
    assert [finding["name"] for finding in broken] == ["starter"] and broken[0]["remedy"]


def test_clear(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("CLIPKNIGHT_CACHE", str(tmp_path))
    (tmp_path / "frames" / "clip-0123456789ab").mkdir(parents=True)
    (tmp_path / "frames" / "clip-0123456789ab" / "0.png").write_bytes(b"x" * 2_000_000)
    doctor.main(["--clear", "frames"])
    assert capsys.readouterr().out == "frames: 2.0 MB deleted\n" and not any((tmp_path / "frames").iterdir())
    with pytest.raises(SystemExit, match="error: --clear runs is not allowed: give words, each one of embeddings"):
        doctor.main(["--clear", "runs"])
