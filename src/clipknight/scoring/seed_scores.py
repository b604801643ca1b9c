"""Scores of one training repeated over seeds: mean, spread, and comparisons seed by seed."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations

from clipknight.training.runs import Run


@dataclass(frozen=True)
class SeedScores:
    """Avg-Cos by seed of what is called `name`, the paper's figure, and the `summaries` of its runs `<runs>/<seed>`."""

    name: str
    scores: Mapping[int, float]
    paper: float | None = None
    runs: str = ""
    summaries: Mapping[int, dict] = field(default_factory=dict)

    @property
    def mean(self) -> float:
        return statistics.fmean(self.scores.values())

    @property
    def spread(self) -> float | None:
        """Sample standard deviation; None of a single seed."""
        return statistics.stdev(self.scores.values()) if len(self.scores) > 1 else None

    def shown(self, form: str = ".4f") -> str:
        return f"{self.mean:{form}}" + ("" if self.spread is None else f" ± {self.spread:.4f}")

    def over(self, other: "SeedScores") -> "SeedScores":
        """The differences to `other`, seed by seed. ValueError where they share no seed."""
        shared = [seed for seed in self.scores if seed in other.scores]
        if not shared:
            raise ValueError(f"{self.name!r} and {other.name!r} have no seed in common")
        differences = {seed: self.scores[seed] - other.scores[seed] for seed in shared}
        return SeedScores(f"{self.name} over {other.name}", differences)

    def counts(self, name: str) -> set[int]:
        """What the runs say of `name`, such as valid_pairs; empty where they do not say."""
        return {summary[name] for summary in self.summaries.values() if name in summary}

    def as_dict(self) -> dict:
        """What goes into JSON."""
        counts = {name: sorted(self.counts(name)) for name in ("valid_pairs", "train_images", "train_captions")}
        figures = {"mean": self.mean, "spread": self.spread, "seeds": len(self.scores), "paper": self.paper}
        scores = {"runs": self.runs, "scores": dict(self.scores)}
        return {"name": self.name, **figures, **scores, **{name: found for name, found in counts.items() if found}}


def read_seed_scores(rows: Sequence[Mapping], seeds: Sequence[int], missing: list[str]) -> list[SeedScores]:
    """The rows, each a mapping of `name`, `runs` and perhaps `paper`, whose runs `<runs>/<seed>` are all finished.

    Names of the runs that are not are added to `missing`. ValueError for another key, and for a run of another seed.
    """
    found = []
    for row in rows:
        if unknown := row.keys() - {"name", "runs", "paper"} or {"name", "runs"} - row.keys():
            raise ValueError(f"row {dict(row)}: it has name, runs and perhaps paper; see {', '.join(unknown)}")
        runs = {seed: Run.at(f"{row['runs']}/{seed}") for seed in seeds}
        unfinished = [f"{row['runs']}/{seed}" for seed, run in runs.items() if not (run.exists and run.finished)]
        if unfinished:
            missing += [name for name in unfinished if name not in missing]
            continue
        for seed, run in runs.items():
            if run.settings["seed"] != seed:
                raise ValueError(f"run {run.name!r} was made with --seed {run.settings['seed']}, not {seed}")
        summaries = {seed: run.info["summary"] for seed, run in runs.items()}
        scores = {seed: summary["avg_cos"] for seed, summary in summaries.items()}
        found.append(SeedScores(row["name"], scores, row.get("paper"), row["runs"], summaries))
    return found


def gain_over_best_member(row: SeedScores, rows: Sequence[SeedScores]) -> SeedScores | None:
    """What a blend gains over its best member, seed by seed, here and in the paper; None for what is no blend."""
    if not all("members" in summary for summary in row.summaries.values()):
        return None
    gains = {seed: row.scores[seed] - max(summary["members"].values()) for seed, summary in row.summaries.items()}
    members = {name.rpartition("/")[0] for summary in row.summaries.values() for name in summary["members"]}
    theirs = [member.paper for member in rows if member.paper and member.runs in members]
    return SeedScores(row.name, gains, row.paper - max(theirs) if row.paper and theirs else None)


def order_sentences(rows: Sequence[SeedScores]) -> list[str]:
    """A sentence for each two rows that stand in another order than in the paper, or not at every seed."""
    told = []
    for lower, higher in permutations([row for row in rows if row.paper], 2):
        if not lower.paper < higher.paper:
            continue
        gain = higher.over(lower)
        above = sum(value > 0 for value in gain.scores.values())
        if above == len(gain.scores):
            continue
        told.append(
            f"The paper has {higher.name} above {lower.name} ({higher.paper:.4f} and {lower.paper:.4f}); here it is "
            + ("above on average only: " if gain.mean > 0 else "not: ")
            + f"{higher.shown()} against {lower.shown()}, above at {above} of {len(gain.scores)} seeds."
        )
    return told or ["Any two rows stand in the paper's order, at every seed."]
