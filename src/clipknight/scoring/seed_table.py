"""Runs repeated over seeds: mean and spread of valid Avg-Cos beside a paper's column, and ablations of them.

The runs of a row are `outputs/<runs>/<seed>`. A YAML file says what is compared: configs/table1/table.yaml is one.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from clipknight.files import atomic_file
from clipknight.messages import a_few
from clipknight.output_names import check_output
from clipknight.paths import existing
from clipknight.scoring.seed_scores import SeedScores, gain_over_best_member, order_sentences, read_seed_scores
from clipknight.scoring.settings import SeedTableSettings
from clipknight.settings import load_settings

KEYS = {"paper", "seeds", "systems", "ablations"}


def table_of_seeds(s: SeedTableSettings) -> dict:
    """runs repeated over seeds: mean and spread of valid Avg-Cos, beside a paper's; ablations"""
    if len(s.rows) != 1:
        raise ValueError("name one file of rows, such as configs/table1/table.yaml")
    check_output("--out", s.out, (".md", ".txt"), s.rows[0])
    table = read_seed_table(s.rows[0], s.allow_missing)
    print(table.as_markdown())
    if s.out:
        with atomic_file(s.out) as temporary:
            temporary.write_text(table.as_markdown() + "\n", encoding="utf-8")
        with atomic_file(Path(s.out).with_suffix(".json")) as temporary:
            temporary.write_text(json.dumps(table.as_dict(), indent=1), encoding="utf-8")
    return table.as_dict()


@dataclass(frozen=True)
class SeedTable:
    """The systems, the ablations by their title, and the runs that were `missing`, whose rows are left out."""

    paper: str
    systems: list[SeedScores]
    ablations: dict[str, list[SeedScores]]
    missing: list[str]

    def as_markdown(self) -> str:
        lines = [*system_lines(self.systems, self.paper), ""]
        lines += [f"- {sentence}" for sentence in order_sentences(self.systems)]
        for title, rows in self.ablations.items():
            lines += ["", *ablation_lines(title, rows)] if rows else []
        lines += ["", f"Left out, not finished: {', '.join(self.missing)}."] if self.missing else []
        return "\n".join(lines)

    def as_dict(self) -> dict:
        """What goes into JSON."""
        ablations = [
            {"ablation": title, "rows": [row.as_dict() for row in rows]} for title, rows in self.ablations.items()
        ]
        return {
            "paper": self.paper,
            "systems": [row.as_dict() for row in self.systems],
            "order": order_sentences(self.systems),
            "ablations": ablations,
            "missing": self.missing,
        }


def read_seed_table(file: str, allow_missing: bool = False) -> SeedTable:
    """The table that a YAML file of rows asks for. FileNotFoundError lists runs that are not all finished."""
    if not existing(file).is_file():
        raise FileNotFoundError(f"no file {file}")
    wanted = load_settings(existing(file))
    if not isinstance(wanted, dict) or not {"paper", "seeds", "systems"} <= wanted.keys() <= KEYS:
        raise ValueError(f"{file} is no file of rows, which has {', '.join(sorted(KEYS))}")
    seeds, missing = wanted["seeds"], []
    systems = read_seed_scores(wanted["systems"], seeds, missing)
    ablations = {
        group["ablation"]: read_seed_scores(group["rows"], group.get("seeds", seeds), missing)
        for group in wanted.get("ablations", [])
    }
    if missing and not allow_missing:
        raise FileNotFoundError(
            f"{len(missing)} runs of {file} are missing or not finished: {a_few(missing)}. Run the pipeline "
            "that makes them, or pass --allow_missing to leave out their rows"
        )
    if not systems:
        raise ValueError(f"{file}: not one row of `systems` has all its runs")
    check_same_pairs([*systems, *(row for rows in ablations.values() for row in rows)])
    return SeedTable(wanted["paper"], systems, ablations, missing)


def check_same_pairs(rows: list[SeedScores]) -> None:
    """ValueError unless all runs were scored on equally many pairs; a blend is on its members'."""
    counts = {pairs: row.name for row in rows for pairs in row.counts("valid_pairs")}
    if len(counts) > 1:
        listed = ", ".join(f"{name!r} on {pairs:,}" for pairs, name in counts.items())
        raise ValueError(f"rows were scored on different pairs: {listed}")


def system_lines(rows: list[SeedScores], paper: str) -> list[str]:
    """The table of systems, each beside the paper's figure and with its difference to the first row."""
    first, lines = rows[0], []
    pairs = max((n for row in rows for n in row.counts("valid_pairs")), default=0)
    lines += [f"Valid Avg-Cos over {pairs:,} pairs, mean ± sample standard deviation over seeds; {paper}.", ""]
    lines += [f"| | paper | over {first.name} | here | over {first.name} | seeds | training captions |"]
    lines += ["|---|---:|---:|---:|---:|---:|---:|"]
    for row in rows:
        theirs = f"{row.paper:.4f}" if row.paper else ""
        over = f"{row.paper - first.paper:+.4f}" if row.paper and first.paper and row is not first else ""
        ours = "" if row is first else row.over(first).shown("+.4f")
        captions = ", ".join(f"{n:,}" for n in sorted(row.counts("train_captions")))
        lines += [f"| {row.name} | {theirs} | {over} | {row.shown()} | {ours} | {len(row.scores)} | {captions} |"]
    return lines + gain_lines(rows)


def gain_lines(rows: list[SeedScores]) -> list[str]:
    """What each ensemble gains over the best of its members."""
    gains = [(row, gain) for row in rows if (gain := gain_over_best_member(row, rows))]
    return [""] * bool(gains) + [
        f"{row.name}: {gain.shown('+.4f')} over its best member, seed by seed"
        + (f"; the paper's gains {gain.paper:+.4f}." if gain.paper else ".")
        for row, gain in gains
    ]


def ablation_lines(title: str, rows: list[SeedScores]) -> list[str]:
    """One ablation, with each row's difference to its first, seed by seed."""
    first = rows[0]
    lines = [f"| {title} | here | over the first | seeds |", "|---|---:|---:|---:|"]
    for row in rows:
        over = "" if row is first else row.over(first).shown("+.4f")
        lines += [f"| {row.name} | {row.shown()} | {over} | {len(row.scores)} |"]
    return lines
