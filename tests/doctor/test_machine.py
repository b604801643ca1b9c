"""What is there and what is not: a Java, a decoder of clips, room on the disk, a torch that loads."""

import shutil
import sys
from collections import namedtuple

from clipknight.doctor import machine
from clipknight.scoring.java import JavaFailed

import pytest

Usage = namedtuple("Usage", "total used free")


def test_torch_its_device_and_precision():
    torch, device, precision = machine.torch_and_device()
    assert {torch.state, device.state, precision.state} <= {"ok", "missing"}
    assert device.name == "device" and precision.value.split()[0] in ("float32", "bfloat16", "float16")


def test_a_torch_that_does_not_load(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    (finding,) = machine.torch_and_device()
    assert finding.state == "broken" and finding.remedy.startswith("pip install --force-reinstall torch")


@pytest.mark.parametrize("error", [FileNotFoundError("no Java here"), JavaFailed("Unrecognized option: --version")])
def test_java(monkeypatch, error):
    def fail(words):
        raise error

    monkeypatch.setattr(machine, "run_java", fail)
    assert machine.java().state == "missing" and machine.java().remedy.startswith('pip install "clipknight[metrics]"')
    monkeypatch.setattr(machine, "run_java", lambda words: "openjdk 25\nmore\n")
    assert machine.java().value.startswith("openjdk 25, from ")


def test_extras_of_a_photo_and_of_a_clip(monkeypatch):
    assert "h264" in machine.video().value
    monkeypatch.setitem(sys.modules, "av", None)
    assert machine.video().remedy == 'pip install "clipknight[video]"'
    monkeypatch.setattr(machine, "find_spec", lambda name: None)
    assert machine.heic().state == "missing"


def test_a_disk_that_is_nearly_full(monkeypatch, outputs):
    assert str(outputs) in machine.disk().value
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(10**12, 10**12 - 1, 1))
    assert machine.disk().state == "missing"
