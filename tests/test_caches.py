"""Caches are cleared only while no other process uses them."""

import os
import subprocess
import sys

from clipknight.caches import CACHES, unused, used_cache
from clipknight.paths import ROOT, caches_in

import pytest

USE = "from clipknight.caches import used_cache; print(used_cache('frames'), flush=True); input()"


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("CLIPKNIGHT_CACHE", str(tmp_path / "kept"))
    return tmp_path / "kept"


def test_they_are_in_use_until_the_process_ends_even_by_a_kill(place):
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", USE], env=environment, **pipes) as other:
        assert other.stdout.readline() == f"{place / 'frames'}\n"
        with pytest.raises(ValueError, match=f"kept is in use by process {other.pid}: wait until it ends"), unused():
            pass
        other.kill()
    with unused():
        assert not list(place.glob(".users/*.held"))


def test_a_process_holds_one_file_for_all_of_them_and_none_for_a_passing_place(place, tmp_path):
    with caches_in(tmp_path / "passing"):
        assert used_cache("frames") == tmp_path / "passing" / "frames"
    assert not place.exists() and not (tmp_path / "passing").exists()
    assert [used_cache(name) for name in CACHES] == [place / name for name in CACHES]
    assert len(list(place.glob(".users/*.held"))) == 1


def test_where_nothing_can_be_written_they_are_read(place):
    place.write_text("a file where the folder should be", encoding="utf-8")
    assert used_cache("embeddings") == place / "embeddings"
