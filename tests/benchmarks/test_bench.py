"""The table of `make bench`: its marks, its cells, and the limits it is held against."""

import sys
from concurrent.futures import Future

from clipknight.paths import ROOT

import pytest

sys.path.insert(0, str(ROOT / "benchmarks"))

import bench
import marked_tables


class Process:
    """Stands for the one process in which a way is timed."""

    def __init__(self, way: str):
        self.way = way

    def submit(self, function, *arguments) -> Future:
        bench.timed_way, done = self.way, Future()
        done.set_result(function(*arguments))
        return done


class Naps:
    """A stage whose ways wait: the plain way .04 s for half of the items, ours .01 s for all."""

    name, unit, written, bound_by, items, plain_items = "naps", "rows", "sleep twice", "sleeping", 8, 4
    is_long, warms_up = False, False

    def __init__(self, folder, quick):
        pass

    def plain(self):
        clock[0] += 0.04

    def ours(self):
        clock[0] += 0.01

    def least_seconds(self, limits):
        return 0.005


clock = [0.0]


def test_a_row_compares_the_same_number_of_items(tmp_path, monkeypatch):
    monkeypatch.setattr(bench.time, "perf_counter", lambda: clock[0])
    row = bench.row_of(Naps, map(Process, bench.WAYS), tmp_path, quick=True, rounds=3, limits=None)
    assert row == ["naps", "sleep twice", "100 rows", "800 rows", "8.0", "sleeping: 1,600 rows", "50%"]


@pytest.mark.parametrize("seconds, items, unit, cell", [(0.5, 100, "rows", "200 rows"), (2, 1, "rows", "0.5 rows")])
def test_rates(seconds, items, unit, cell):
    assert bench.shown(seconds, items, unit) == cell
    assert bench.shown(seconds, items, "") == f"{seconds:.2f} s"


def test_the_table_goes_between_its_marks_and_nowhere_else(tmp_path, monkeypatch):
    text = marked_tables.README.read_text(encoding="utf-8")
    assert all(f"<!-- {name} -->\n" in text and f"<!-- /{name} -->\n" in text for name in ("bench.py", "memory.py"))
    monkeypatch.setattr(marked_tables, "README", tmp_path / "README.md")
    (tmp_path / "README.md").write_text("a\n<!-- x -->\nold\n<!-- /x -->\nb\n", encoding="utf-8")
    marked_tables.write_between_marks("x", "new\n")
    marked_tables.write_between_marks("x", "newer\n")
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == "a\n<!-- x -->\nnewer\n<!-- /x -->\nb\n"
    with pytest.raises(ValueError, match="lacks <!-- y -->"):
        marked_tables.write_between_marks("y", "")
