"""One table of many scores: a row for each JSON file that score.py wrote, the best figures in bold."""

import json
from collections.abc import Sequence
from pathlib import Path

from clipknight.files import atomic_file
from clipknight.output_names import check_output
from clipknight.paths import existing
from clipknight.scoring.settings import ScoreTableSettings

import pandas as pd

PERCENT = ("Bleu_1", "Bleu_2", "Bleu_3", "Bleu_4", "METEOR", "ROUGE_L", "CIDEr", "SPICE")  # as papers print them


def table_of_scores(s: ScoreTableSettings) -> pd.DataFrame:
    """one table of many scores: the JSON files that score.py wrote, a row each"""
    check_output("--out", s.out, (".md", ".txt"), *s.scores)
    table = score_table(s.scores, s.columns)
    print(as_markdown(table))
    if s.out:
        with atomic_file(s.out) as temporary:
            temporary.write_text(as_markdown(table) + "\n", encoding="utf-8")
    return table


def score_table(files: Sequence[str], columns: Sequence[str]) -> pd.DataFrame:
    """The files' scores, a row named by its file, those that papers print so in percent."""
    if not files:
        raise ValueError("name the JSON files that score.py wrote")
    rows = {Path(file).stem: read_scores(file) for file in files}
    if len(rows) < len(files):
        raise ValueError("two files have one name, which names the row: rename one")
    table = pd.DataFrame.from_dict(rows, orient="index").reindex(columns=columns)
    table[[name for name in columns if name in PERCENT]] *= 100
    return table


def as_markdown(table: pd.DataFrame) -> str:
    """The table, the best of each column in bold."""
    digits = {column: 1 if column in PERCENT else 4 for column in table}
    cells = {c: [emphasised(value, table[c].max(), digits[c]) for value in table[c]] for c in table}
    lines = [f"| {' | '.join(['', *table])} |", f"|---|{'---:|' * len(table.columns)}"]
    lines += [f"| {name} | {' | '.join(row)} |" for name, row in zip(table.index, zip(*cells.values()))]
    return "\n".join(lines)


def read_scores(file: str) -> dict:
    path = existing(file)
    if not path.is_file():
        raise FileNotFoundError(f"no file {file}")
    scores = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(scores, dict):
        raise ValueError(f"{file} holds no scores: score.py writes them with --json")
    return scores


def emphasised(value: float, best: float, digits: int) -> str:
    if pd.isna(value):
        return ""
    text = f"{value:.{digits}f}"
    return f"**{text}**" if text == f"{best:.{digits}f}" else text
