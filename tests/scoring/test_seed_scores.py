from dataclasses import dataclass

from clipknight.scoring.seed_scores import SeedScores, gain_over_best_member, order_sentences, read_seed_scores
from clipknight.training.runs import Run

import pytest


@dataclass(frozen=True)
class Settings:
    seed: int


def finished_run(name, seed, **summary):
    Run.start(name, Settings(seed)).finish(**summary)


def scores(name, *values, paper=None, seeds=(0, 1, 2)):
    return SeedScores(name, dict(zip(seeds, values)), paper)


def test_mean_and_sample_deviation():
    row = scores("A", 0.5, 0.52, 0.6)
    assert row.mean == pytest.approx(0.54)
    assert row.spread == pytest.approx(((0.04**2 + 0.02**2 + 0.06**2) / 2) ** 0.5)
    assert row.shown() == "0.5400 ± 0.0529"
    one = scores("A", 0.5)
    assert one.spread is None and one.shown("+.4f") == "+0.5000"


def test_differences_are_taken_seed_by_seed_on_shared_seeds():
    gain = scores("A", 0.5, 0.6, seeds=(1, 2)).over(scores("B", 0.1, 0.2, 0.25, seeds=(2, 0, 1)))
    assert gain.scores == pytest.approx({1: 0.25, 2: 0.5}) and gain.spread == pytest.approx(0.25 / 2**0.5)
    with pytest.raises(ValueError, match="'A' and 'B' have no seed in common"):
        scores("A", 0.5, seeds=(1,)).over(scores("B", 0.5, seeds=(2,)))


def test_rows_are_read_from_finished_runs():
    for seed, value in enumerate((0.5, 0.6)):
        finished_run(f"read/a/{seed}", seed, avg_cos=value, valid_pairs=40, train_captions=100 + seed)
    missing = []
    (row,) = read_seed_scores([{"name": "A", "runs": "read/a", "paper": 0.7}], [1, 0], missing)
    assert missing == [] and row.scores == {1: 0.6, 0: 0.5} and (row.name, row.paper) == ("A", 0.7)
    assert row.counts("valid_pairs") == {40} and row.counts("train_captions") == {100, 101}
    assert row.counts("train_images") == set()
    assert row.as_dict() == {
        **{"name": "A", "mean": 0.55, "spread": row.spread, "seeds": 2, "paper": 0.7, "runs": "read/a"},
        **{"scores": {1: 0.6, 0: 0.5}, "valid_pairs": [40], "train_captions": [100, 101]},
    }


def test_missing_and_unfinished_runs_are_listed_once_and_their_rows_left_out():
    finished_run("gaps/a/0", 0, avg_cos=0.5)
    Run.start("gaps/a/1", Settings(1))  # killed
    missing = []
    assert read_seed_scores([{"name": "A", "runs": "gaps/a"}] * 2, [0, 1, 2], missing) == []
    assert missing == ["gaps/a/1", "gaps/a/2"]


def test_a_run_of_another_seed_is_refused():
    finished_run("seeds/a/0", 3, avg_cos=0.5)
    with pytest.raises(ValueError, match="'seeds/a/0' was made with --seed 3, not 0"):
        read_seed_scores([{"name": "A", "runs": "seeds/a"}], [0], [])


@pytest.mark.parametrize("row, key", [({"name": "A", "runs": "a", "papers": 1}, "papers"), ({"name": "A"}, "runs")])
def test_a_row_with_another_key_or_without_its_runs_is_refused(row, key):
    with pytest.raises(ValueError, match=f"see {key}$"):
        read_seed_scores([row], [0], [])


def test_the_gain_of_an_ensemble_is_over_each_seeds_best_member_and_in_the_paper_too():
    members = {0: {"g/a/0": 0.5, "g/b/0": 0.4}, 1: {"g/a/1": 0.3, "g/b/1": 0.4}}
    summaries = {seed: {"members": values} for seed, values in members.items()}
    blended = SeedScores("both", {0: 0.6, 1: 0.45}, 0.9, "g/both", summaries)
    a, b, c = (SeedScores(name, {0: 0.1}, paper, f"g/{name}") for name, paper in (("a", 0.8), ("b", 0.6), ("c", 0.85)))
    gain = gain_over_best_member(blended, [a, b, c, blended])
    assert gain.scores == pytest.approx({0: 0.1, 1: 0.05}) and gain.paper == pytest.approx(0.1)
    assert gain_over_best_member(blended, [c]).paper is None
    assert gain_over_best_member(SeedScores("a", {0: 0.5}, 0.8, "g/a", {0: {"avg_cos": 0.5}}), []) is None


def test_only_what_stands_in_another_order_than_in_the_paper_is_told():
    low, mid, high = (
        scores("low", 1, 1, 1, paper=0.1),
        scores("mid", 2, 2, 2, paper=0.2),
        scores("high", 3, 3, 3, paper=0.3),
    )
    assert order_sentences([high, low, mid]) == ["Any two rows stand in the paper's order, at every seed."]
    now_and_then, not_in_paper = scores("mid", 0, 2, 3, paper=0.2), scores("new", 9, 9, 9)
    assert order_sentences([low, now_and_then, not_in_paper, high]) == [
        "The paper has mid above low (0.2000 and 0.1000); here it is above on average only: "
        "1.6667 ± 1.5275 against 1.0000 ± 0.0000, above at 2 of 3 seeds.",
        "The paper has high above mid (0.3000 and 0.2000); here it is above on average only: "
        "3.0000 ± 0.0000 against 1.6667 ± 1.5275, above at 2 of 3 seeds.",
    ]
    below = order_sentences([scores("low", 5, 5, 5, paper=0.1), mid, high])
    assert len(below) == 2 and all("; here it is not: " in s and "above at 0 of 3 seeds" in s for s in below)
