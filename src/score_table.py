"""One table of many scores: the JSON files that score.py wrote, a row each, best figures in bold.

python src/score_table.py outputs/study/*.json --out outputs/study/table.md
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

from clipknight.errors import user_errors
from clipknight.files import atomic_file
from clipknight.paths import existing
from clipknight.settings import parse

import pandas as pd

PERCENT = ("Bleu_1", "Bleu_2", "Bleu_3", "Bleu_4", "METEOR", "ROUGE_L", "CIDEr", "SPICE")  # as papers print them


@dataclass(frozen=True)
class Settings:
    """Settings of score_table.py"""

    scores: list[str] = field(default_factory=list)
    """JSON files of score.py, as free words; a row is named by its file"""
    columns: list[str] = field(default_factory=lambda: ["Bleu_1", "Bleu_4", "METEOR", "ROUGE_L", "CIDEr"])
    """scores to show"""
    out: str = ""
    """also write the table to this Markdown file"""


@user_errors
def main(argv=None) -> pd.DataFrame:
    s = parse(Settings, argv, __doc__, positional="scores")
    if not s.scores:
        raise ValueError("name the JSON files that score.py wrote")
    rows = {Path(file).stem: read_scores(file) for file in s.scores}
    if len(rows) < len(s.scores):
        raise ValueError("two files have one name, which names the row: rename one")
    table = pd.DataFrame.from_dict(rows, orient="index").reindex(columns=s.columns)
    table[[c for c in s.columns if c in PERCENT]] *= 100
    digits = {column: 1 if column in PERCENT else 4 for column in s.columns}
    shown = pd.DataFrame(
        {c: [emphasised(v, table[c].max(), digits[c]) for v in table[c]] for c in s.columns}, index=table.index
    )
    lines = [f"| {' | '.join(['', *s.columns])} |", f"|---|{'---:|' * len(s.columns)}"]
    lines += [f"| {name} | {' | '.join(row)} |" for name, row in zip(shown.index, shown.to_numpy())]
    print("\n".join(lines))
    if s.out:
        with atomic_file(s.out) as temporary:
            temporary.write_text("\n".join([*lines, ""]), encoding="utf-8")
    return table


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


if __name__ == "__main__":
    main()
