"""Write a run's predictions of a split as a submission, checked before and after.

With a sample_submission.csv in the dataset it says which images are asked for; otherwise the split does.

    python src/submit.py --run ensemble --split test --out outputs/submission.csv
"""

from dataclasses import dataclass
from typing import Literal

from clipknight.devices import DeviceSettings
from clipknight.errors import parse_early, user_errors
from clipknight.ranges import Name
from clipknight.settings import parse


@dataclass(frozen=True, kw_only=True)
class Settings(DeviceSettings):
    """Settings of submit.py"""

    run: Name = "ensemble"
    """name of the run: outputs/<run>"""
    split: str = "test"
    """whose predictions to write"""
    out: Name = "outputs/submission.csv"
    """file to write, from the present folder; replaced when it is there"""
    data: str = ""
    """dataset folder; by default the run's own"""
    fill_missing: Literal["", "mean"] = ""
    """mean: images without a prediction (unreadable ones that were skipped) get the mean one; otherwise an error"""


if __name__ == "__main__":
    parse_early(Settings, __doc__)  # --help and typos, before the parts load

from clipknight.embedding.embeddings import Embeddings
from clipknight.ensemble.image_submission import with_mean
from clipknight.ensemble.submission import check_written, write_submission
from clipknight.ensemble.submission_rows import sample_ids
from clipknight.messages import a_few
from clipknight.output_names import check_output
from clipknight.preparation import prepare_process
from clipknight.training.run_datasets import dataset_of, images_of_split
from clipknight.training.runs import Run

import numpy as np
import pandas as pd


@user_errors
def main(argv=None) -> str:
    s = parse(Settings, argv, __doc__)
    prepare_process()
    run = Run.open(s.run)
    check_output("--out", s.out, (".csv",), s.data or dataset_of(run).data, *run.files)
    predictions = run.predictions(s.split)
    dataset = images_of_split(run, s.split, s.data, s.device)
    sample = dataset.sample_submission if s.split == "test" else None
    asked = dataset.ids if sample is None else sample_ids(sample)
    others = len(predictions) - int(np.isin(predictions.ids, asked).sum())
    if others:
        print(f"left out: {others:,} predicted images that {sample or s.split} does not ask for")
    predictions = complete(predictions, asked, dataset.ids, s)

    write_submission(predictions, s.out, sample)
    check_written(predictions, s.out)
    against = "" if sample is None else ", the rows of sample_submission.csv in its order"
    print(f"{len(asked) * predictions.dim:,} rows, {len(asked):,} images x {predictions.dim}{against} -> {s.out}")
    return s.out


def complete(predictions: Embeddings, asked: np.ndarray, there: np.ndarray, s: Settings) -> Embeddings:
    """The rows of `asked`; those without a prediction get the mean one if the user wants it."""
    missing = pd.Index(asked).difference(pd.Index(predictions.ids))
    if len(missing) and not s.fill_missing:
        remedy = f"predict them (python src/predict.py --run {s.run} --split {s.split})"
        if not missing.isin(there).any():
            remedy = "the dataset has no such images: check --data"
        raise ValueError(
            f"{len(missing):,} of {len(asked):,} images have no prediction in {s.split!r}: {a_few(missing)}; {remedy}, "
            "or pass --fill_missing mean"
        )
    if not len(missing):
        return predictions.aligned_to(asked)
    print(f"filled with the mean prediction: {len(missing):,} images: {a_few(missing)}")
    return with_mean(predictions, asked)


if __name__ == "__main__":
    main()
