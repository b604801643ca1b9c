"""The table of `make bench`: its marks, its cells, and the limits it is held against."""

import sys
from concurrent.futures import Future

from clipknight.paths import ROOT

import pytest

sys.path.insert(0, str(ROOT / "benchmarks"))

import bench
import marked_tables
import torch
from stages.traffic import operations_and_traffic
from step_profile import kind_of
from torch import nn


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


def test_a_training_step_counts_what_each_layer_has_to_do():
    """A frozen layer, a depthwise one without a gradient below it, and one with: once, twice and three times."""
    frozen, depthwise = nn.Conv2d(3, 4, 1, bias=False), nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False)
    model, pixels = nn.Sequential(frozen.requires_grad_(False), depthwise, nn.Conv2d(4, 2, 1)), torch.ones(2, 3, 5, 5)
    multiplied = [25 * 4 * 3, 25 * 4 * 9, 25 * 2 * 4]
    moved = [4 * 25 * (3 + 4), 4 * 25 * (4 + 4), 4 * 25 * (4 + 2)]
    step = [sum(times * count for times, count in zip((1, 2, 3), counts)) for counts in (multiplied, moved)]
    assert operations_and_traffic(model, pixels) == (2 * step[0], step[1])
    with torch.inference_mode():
        assert operations_and_traffic(model, pixels) == (2 * sum(multiplied), sum(moved))


def test_a_profile_tells_depthwise_convolutions_from_others():
    pixels = [64, 144, 56, 56]
    assert kind_of("aten::mkldnn_convolution", [pixels, [144, 1, 3, 3], []]) == "depthwise convolutions, forward"
    assert kind_of("aten::mkldnn_convolution", [pixels, [144, 24, 1, 1], []]) == "other convolutions, forward"
    assert kind_of("aten::convolution_backward", [pixels, pixels, [144, 1, 5, 5]]) == "depthwise convolutions, backward"
    assert (kind_of("aten::clamp", [pixels]), kind_of("aten::copy_", [])) == ("ReLU6", "all else")
