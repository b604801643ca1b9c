"""One table of runs repeated over seeds: mean and spread of valid Avg-Cos, beside a paper's column; then ablations.

The runs of a row are `outputs/<runs>/<seed>`. The file of rows says what is compared; configs/table1/table.yaml is one.

    python src/seed_table.py configs/table1/table.yaml --out outputs/table1/table.md
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

from clipknight.errors import user_errors
from clipknight.files import atomic_file
from clipknight.messages import a_few
from clipknight.paths import existing
from clipknight.plots.seed_scores import SeedScores, gain_over_best_member, order_sentences, read_seed_scores
from clipknight.settings import load_settings, parse

KEYS = {"paper", "seeds", "systems", "ablations"}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of seed_table.py"""

    rows: list[str] = field(default_factory=list)
    """the YAML file of rows, as a free word"""
    out: str = ""
    """Markdown file for the table; the figures go beside it as JSON"""
    allow_missing: bool = False
    """leave out rows whose runs are not all finished, instead of stopping with their list"""


@user_errors
def main(argv=None) -> dict:
    s = parse(Settings, argv, __doc__, positional="rows")
    if len(s.rows) != 1:
        raise ValueError("name one file of rows, such as configs/table1/table.yaml")
    if not existing(s.rows[0]).is_file():
        raise FileNotFoundError(f"no file {s.rows[0]}")
    if s.out and Path(s.out).suffix == ".json":
        raise ValueError(f"--out {s.out}: the table is Markdown, its figures go beside it as JSON")
    wanted = load_settings(existing(s.rows[0]))
    if not isinstance(wanted, dict) or not {"paper", "seeds", "systems"} <= wanted.keys() <= KEYS:
        raise ValueError(f"{s.rows[0]} is no file of rows, which has {', '.join(sorted(KEYS))}")
    seeds, missing = wanted["seeds"], []
    systems = read_seed_scores(wanted["systems"], seeds, missing)
    groups = [
        (group["ablation"], read_seed_scores(group["rows"], group.get("seeds", seeds), missing))
        for group in wanted.get("ablations", [])
    ]
    if missing and not s.allow_missing:
        raise FileNotFoundError(
            f"{len(missing)} runs of {s.rows[0]} are missing or not finished: {a_few(missing)}. Run the pipeline "
            "that makes them, or pass --allow_missing to leave out their rows"
        )
    if not systems:
        raise ValueError(f"{s.rows[0]}: not one row of `systems` has all its runs")
    check_same_pairs([*systems, *(row for _, rows in groups for row in rows)])

    order = order_sentences(systems)
    lines = [*system_lines(systems, wanted["paper"]), "", *(f"- {sentence}" for sentence in order)]
    for title, rows in groups:
        lines += ["", *ablation_lines(title, rows)] if rows else []
    lines += ["", f"Left out, not finished: {', '.join(missing)}."] if missing else []
    print("\n".join(lines))
    found = {
        "paper": wanted["paper"],
        "systems": [row.as_dict() for row in systems],
        "order": order,
        "ablations": [{"ablation": title, "rows": [row.as_dict() for row in rows]} for title, rows in groups],
        "missing": missing,
    }
    if s.out:
        with atomic_file(s.out) as temporary:
            temporary.write_text("\n".join([*lines, ""]), encoding="utf-8")
        with atomic_file(Path(s.out).with_suffix(".json")) as temporary:
            temporary.write_text(json.dumps(found, indent=1), encoding="utf-8")
    return found


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


if __name__ == "__main__":
    main()
