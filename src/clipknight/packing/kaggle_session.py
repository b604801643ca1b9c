"""What the notebook of the Kaggle kit calls: from a pack and the mounted competition to a checked submission.csv."""

import time
from pathlib import Path

from clipknight.ensemble.image_submission import submit_images
from clipknight.ensemble.predictors import load_predictor
from clipknight.messages import a_few
from clipknight.training.runs import Run

SAMPLE = "sample_submission.csv"
DEPTHS = ("*", "*/*", "*/*/*")  # below the mount: /kaggle/input/<competition>, or /kaggle/input/competitions/<it>


def find_competition(inputs: Path) -> Path:
    """The folder below the mount that has a sample_submission.csv. FileNotFoundError for none, ValueError for more."""
    found = [sample.parent for depth in DEPTHS for sample in inputs.glob(f"{depth}/{SAMPLE}")]
    if not found:
        raise FileNotFoundError(f"no {SAMPLE} below {inputs}: add the competition as an input of the notebook")
    if len(found) > 1:
        raise ValueError(f"more than one {SAMPLE} below {inputs}, in {a_few(found)}: leave one competition attached")
    return found[0]


def write_kaggle_submission(pack: Path, competition: Path, out: Path, device: str = "auto", workers: int = 2) -> str:
    """Write `out`, the predictions of the images that the competition's sample asks for, in its rows and order.

    Images that are missing or cannot be read get the mean prediction. Returns how many there were, and the speed.
    """
    start = time.perf_counter()
    predictor = load_predictor(Run.open(pack), device)
    done = submit_images(predictor, competition / "images", competition / SAMPLE, out, "mean", workers=workers)
    seconds = time.perf_counter() - start
    return (
        f"{out}: {done.images:,} images in {seconds:.0f} s ({done.images / seconds:.1f} a second); {done.missing:,} "
        f"missing and {done.unreadable:,} unreadable ones have the mean prediction"
    )
