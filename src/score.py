"""Score results against captions, and put scores side by side.

python src/score.py submission --submission outputs/submission.csv --captions test_captions.csv --json score.json
python src/score.py captions --candidates outputs/captions.csv --references input/flickr8k/captions.txt --allow_partial
python src/score.py table outputs/study/*.json --out outputs/study/table.md
python src/score.py seeds configs/table1/table.yaml --out outputs/table1/table.md
python src/score.py coverage --candidates outputs/captions.csv --references input/flickr8k/captions.txt --allow_partial
python src/score.py ladder flickr8k/b_frozen flickr8k/a flickr8k/ensemble --out outputs/flickr8k/ladder.json
"""

import sys
from typing import NamedTuple

from clipknight.errors import early, user_errors
from clipknight.messages import as_typed
from clipknight.plots.settings import CoverageSettings, LadderSettings
from clipknight.scoring.settings import CaptionSettings, ScoreTableSettings, SeedTableSettings, SubmissionSettings
from clipknight.settings import parse


class Command(NamedTuple):
    """What a command does, its settings, and the name of the one that free words go to."""

    does: str
    settings: type
    free_words: str = ""


COMMANDS = {
    "submission": Command("Avg-Cos of a submission over all (image, caption) pairs", SubmissionSettings),
    "captions": Command(
        "BLEU, METEOR, ROUGE-L, CIDEr, SPICE of captions; CLIPScore, cosine to predictions", CaptionSettings
    ),
    "table": Command(
        "one table of many scores: the JSON files that score.py wrote, a row each", ScoreTableSettings, "scores"
    ),
    "seeds": Command(
        "runs repeated over seeds: mean and spread of valid Avg-Cos, beside a paper's; ablations",
        SeedTableSettings,
        "rows",
    ),
    "coverage": Command("what confidences are worth: CIDEr of the most confident captions", CoverageSettings),
    "ladder": Command(
        "the way up: each run's valid Avg-Cos, and what it gained over the one before", LadderSettings, "runs"
    ),
}


def parse_command(argv=None):
    """The command's name and its settings. SystemExit for --help, and for what is no command."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words and words[0] in COMMANDS:
        command = COMMANDS[words[0]]
        return words[0], parse(command.settings, words[1:], command.does, command.free_words)
    listed = "\n".join(f"  score.py {name:<12} {command.does}" for name, command in COMMANDS.items())
    listed = as_typed(f"{listed}\nEach explains itself with --help.")
    if words[:1] not in (["-h"], ["--help"]):
        raise SystemExit(f"error: say what to score\n{listed}")
    print(f"{as_typed(__doc__.strip())}\n\n{listed}")
    raise SystemExit(0)


if __name__ == "__main__":
    early(parse_command)  # --help and typos, before the parts load

from clipknight.plots.coverage import coverage_of_captions
from clipknight.plots.ladder import ladder_of_runs
from clipknight.preparation import prepare_process
from clipknight.scoring.file_scores import score_captions, score_submission
from clipknight.scoring.score_table import table_of_scores
from clipknight.scoring.seed_table import table_of_seeds

import pandas as pd

SCORES = {
    "submission": score_submission,
    "captions": score_captions,
    "table": table_of_scores,
    "seeds": table_of_seeds,
    "coverage": coverage_of_captions,
    "ladder": ladder_of_runs,
}


@user_errors
def main(argv=None) -> dict | list | pd.DataFrame:
    command, s = parse_command(argv)
    prepare_process()
    return SCORES[command](s)


if __name__ == "__main__":
    main()
