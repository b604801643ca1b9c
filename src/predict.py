"""Predict the text embedding of any images: a folder's, or a dataset's split.

python src/predict.py --run ensemble --images FOLDER --out FOLDER
python src/predict.py --run ensemble --split test                     # into the run's own predictions/test
python src/predict.py --run ensemble --images s3://bucket/tars --out outputs/rows --engine ray    # archives: in parts
python src/predict.py --run ensemble --images FOLDER --sample sample_submission.csv --out submission.csv
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from clipknight.devices import BackendSettings, WorkerSettings
from clipknight.engines.settings import EngineSettings
from clipknight.errors import parse_early, user_errors
from clipknight.ranges import Name, PositiveFew
from clipknight.settings import of_own_meaning, parse


@dataclass(frozen=True, kw_only=True)
class Settings(EngineSettings, WorkerSettings, BackendSettings):
    """Settings of predict.py"""

    run: Name = "ensemble"
    """name of the run: outputs/<run>; of one that captions, such as starter, the run that it has its embeddings from"""
    images: str = of_own_meaning("")
    """folder of images, searched with its subfolders; or archives (tar, zip, Parquet), or a URL: predicted in parts"""
    data: str = ""
    """instead of --images: dataset folder; by default the run's own"""
    split: str = ""
    """instead of --images: train, valid or test"""
    sample: str = ""
    """with --images: a sample_submission.csv; --out is then a submission with its rows in its order, checked"""
    fill_missing: Literal["", "mean"] = ""
    """with --sample, mean: images that are missing or cannot be read get the mean prediction; otherwise an error"""
    out: str = ""
    """folder for the embeddings (with --sample a CSV); by default, with --split, the run's predictions/<split>"""
    csv: str = ""
    """also write them as a submission"""
    skip_unreadable: bool = False
    """go on without the images that cannot be read; otherwise they are listed in an error"""
    batch_size: PositiveFew = 64
    """images at a time"""
    overwrite: bool = False
    """replace embeddings that are there"""


def check(s: Settings) -> None:
    """ValueError for settings that say nothing, or contradict each other."""
    if bool(s.images) == bool(s.split) or (s.images and s.data) or (s.images and not s.out):
        raise ValueError("say what to predict: --images FOLDER --out FOLDER, or --split test (and --data FOLDER)")
    if (s.sample and not s.images) or (s.fill_missing and not s.sample):
        raise ValueError(
            "--sample says which of --images FOLDER are asked for, and --fill_missing belongs to it: give both"
        )


if __name__ == "__main__":
    parse_early(Settings, __doc__, check=check)  # --help and typos, before the parts load

from clipknight.data.datasets import image_folder
from clipknight.data.picture_parts import archives_of
from clipknight.data.remote import is_url
from clipknight.embedding.embeddings import FILES as EMBEDDING_FILES
from clipknight.embedding.rows_in_parts import PictureRows, summary, write_rows_of_pictures
from clipknight.embedding.shard_writer import make_way
from clipknight.ensemble.image_submission import submit_images
from clipknight.ensemble.predictors import OpenPredictor, load_predictor, predicting_run
from clipknight.ensemble.submission import write_submission
from clipknight.messages import counted
from clipknight.output_names import check_output
from clipknight.packs import pack_of
from clipknight.preparation import prepare_process
from clipknight.training.run_datasets import dataset_of, images_of_split
from clipknight.training.runs import Run


@user_errors
def main(argv=None) -> Path:
    s = parse(Settings, argv, __doc__)
    prepare_process(s.backend, s.where)
    check(s)
    run = predicting_run(Run.open(s.run))
    if s.sample:
        return write_asked(run, s)
    if s.images and (is_url(s.images) or archives_of(s.images)):
        return predict_archives(run, s)
    out = Path(s.out) if s.out else run.folder / "predictions" / s.split
    if s.split == "valid" and not s.out and run.info.get("members"):
        raise ValueError(f"the valid predictions of {run.name!r} are out-of-fold and stay so: pass --out for others")
    if not s.out and pack_of(run.folder):
        raise ValueError(f"{run.name} lies in a pack, which stays as it is: say where the predictions go, --out FOLDER")
    check_replaceable(out, s.overwrite)
    check_output("--csv", s.csv, (".csv",), s.images, s.data or dataset_of(run).data, *run.files)
    dataset = image_folder(s.images) if s.images else images_of_split(run, s.split, s.data, s.device, s.skip_unreadable)
    predictor = load_predictor(run, s.device)

    start = time.perf_counter()
    predictions = predictor.predict(
        dataset, batch_size=s.batch_size, workers=s.workers, skip_unreadable=s.skip_unreadable
    )
    seconds = time.perf_counter() - start
    predictions.save(out)
    if s.csv:
        write_submission(predictions, s.csv)
    skipped = len(dataset) - len(predictions)
    print(
        f"{counted(len(predictions), 'image')} in {seconds:.1f} s ({len(predictions) / seconds:.1f} a second)"
        + (f", {skipped:,} unreadable ones skipped" if skipped else "")
        + f" -> {out}"
        + (f", {s.csv}" if s.csv else "")
    )
    return out


def predict_archives(run: Run, s: Settings) -> Path:
    """Of pictures in archives or at a URL, into a folder of parts."""
    if s.csv:
        raise ValueError("--csv takes the predictions of a folder of pictures: unpack the archives first")
    check_output("--out", s.out, (), s.images, *run.files)
    out, start = Path(s.out), time.perf_counter()
    make_way(out, s.overwrite)
    work = PictureRows(OpenPredictor(str(run.folder.absolute())), s.batch_size, s.skip_unreadable)
    rows = write_rows_of_pictures(s.images, work, out, {"run": run.name}, s.workers)
    print(f"{summary(rows)}, {time.perf_counter() - start:.1f} s -> {out}")
    return out


def write_asked(run: Run, s: Settings) -> Path:
    """The submission of what a sample asks for."""
    check_output("--out", s.out, (".csv",), s.images, s.sample, *run.files)
    if s.csv or s.skip_unreadable:
        raise ValueError("with --sample, --out is the submission, and --fill_missing mean goes on without pictures")
    start = time.perf_counter()
    options = {"batch_size": s.batch_size, "workers": s.workers}
    done = submit_images(load_predictor(run, s.device), s.images, s.sample, s.out, s.fill_missing, **options)
    filled = f"; {done.missing:,} missing and {done.unreadable:,} unreadable ones have the mean prediction"
    print(
        f"{done.images * done.dim:,} rows, {done.images:,} images x {done.dim}, those of {s.sample} in its order"
        + (filled if s.fill_missing else "")
        + f", in {time.perf_counter() - start:.1f} s -> {s.out}"
    )
    return Path(s.out)


def check_replaceable(folder: Path, overwrite: bool) -> None:
    """FileExistsError for embeddings that are not to be replaced, and for anything else that is in the way."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if "meta.json" not in there or not there <= EMBEDDING_FILES:
        raise FileExistsError(f"{folder} is not a folder of embeddings: choose another --out")
    if not overwrite:
        raise FileExistsError(f"{folder} exists: pass --overwrite to replace it")


if __name__ == "__main__":
    main()
