"""Questions about the built-in sample's pictures, one CSV of image,question,answer,kind a split: what answer.py reads.

python src/make_sample.py
python src/make_questions.py
python src/answer.py --questions outputs/sample/questions/valid.csv --train outputs/sample/questions/train.csv
"""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from clipknight.errors import user_errors
from clipknight.files import atomic_file
from clipknight.paths import OUTPUTS, existing
from clipknight.sample.questions import questions_about
from clipknight.settings import parse


@dataclass(frozen=True)
class Settings:
    """Settings of make_questions.py"""

    sample: str = "input/sample"
    """folder that make_sample.py made"""
    out: str = str(OUTPUTS / "sample" / "questions")
    """folder for train.csv, valid.csv, test.csv"""
    seed: int = 0
    """of what is asked about each picture"""


@user_errors
def main(argv=None) -> None:
    s = parse(Settings, argv, __doc__)
    sample = existing(Path(s.sample).expanduser())
    if not (sample / "scenes.json").is_file():
        raise FileNotFoundError(f"no {sample / 'scenes.json'}: make the sample first, python src/make_sample.py")
    scenes = json.loads((sample / "scenes.json").read_text(encoding="utf-8"))
    rows = questions_about(scenes, f"{s.sample.rstrip('/')}/Images", s.seed)
    for split, part in rows.groupby("split", sort=False):
        with atomic_file(Path(s.out) / f"{split}.csv") as file:
            part.drop(columns="split").to_csv(file, index=False)
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in Counter(part["kind"]).items())
        print(f"{split}: {len(part):,} questions ({kinds})")
    print(f"-> {s.out}")


if __name__ == "__main__":
    main()
