"""The dataset that a run was made on, and the images of a split of it or of another one."""

from collections.abc import Sequence
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import TypeVar

from clipknight.data.datasets import Dataset, read_dataset
from clipknight.embedding.captioned_dataset import CaptionedDataset, without_unreadable
from clipknight.embedding.settings import DataSettings, SkippingSettings
from clipknight.paths import existing
from clipknight.settings import fill
from clipknight.training.runs import Run

S = TypeVar("S", bound=DataSettings)
NAMES = [field.name for field in fields(DataSettings) if field.name != "device"]  # what says which dataset it is


def dataset_of(run: Run) -> DataSettings:
    """What a run was made on, with its columns, image folder, target encoder and seed; `data` is "" where it has none.

    A blend has that of its members in run.json.
    """
    values = {"data": "", **run.settings, **run.info.get("dataset", {})}
    return fill(DataSettings, {name: values[name] for name in NAMES if name in values}, str(run.settings.path))


def with_dataset_of(runs: Sequence[Run], s: S) -> S:
    """`s` on the dataset of `runs`, if it names none or this one: what it leaves at the default is as it was for them.

    What one of them left out is left out. ValueError where it names none, and the runs have none or several.
    """
    theirs = [made_on for made_on in map(dataset_of, runs) if made_on.data]
    places = {place(made_on.data): made_on.data for made_on in theirs}
    if not s.data and len(places) != 1:
        made_on = " and ".join(places.values()) or "no dataset"
        raise ValueError(f"{', '.join(run.name for run in runs)} were made on {made_on}: name one by --data")
    same = [made_on for made_on in theirs if not s.data or place(made_on.data) == place(s.data)]
    defaults = {field.name: "" if field.default is MISSING else field.default for field in fields(DataSettings)}
    taken = {name: getattr(same[0], name) for name in NAMES if same and getattr(s, name) == defaults[name]}
    if isinstance(s, SkippingSettings) and any(map(leaves_out, runs)):
        taken["skip_unreadable"] = True
    return replace(s, **taken)


def description(s: DataSettings) -> dict:
    """What run.json says of a dataset that was taken over."""
    return {name: getattr(s, name) for name in (*NAMES, "skip_unreadable")}


def leaves_out(run: Run) -> bool:
    """Whether a run was made without the images that are missing or cannot be read."""
    return {**run.settings, **run.info.get("dataset", {})}.get("skip_unreadable", False)


def place(data: str) -> Path:
    """Where a dataset lies, however it is named."""
    return existing(Path(data).expanduser()).resolve()


def images_of_split(
    run: Run,
    split: str,
    data: str = "",
    device: str = "auto",
    skip_unreadable: bool = False,
    text_alone: bool = False,
) -> Dataset:
    """The images of a split of `data`, or of what the run was made on; a dataset without splits gets its made one.

    Of another dataset than the run's, the columns are found by its header. `skip_unreadable` leaves out those that are
    missing or cannot be read, as does a run that was made so. Where `text_alone` is needed, images may be missing, and
    none is opened.
    """
    skip = skip_unreadable or leaves_out(run)
    s, columns = dataset_of(run), dataset_of(run).columns
    if data and (not s.data or place(data) != place(s.data)):
        s, columns = replace(s, data=data, images=""), columns.for_another()
    dataset = read_dataset(s.data, columns, s.images or None, skip, text_alone)
    if not dataset.has_splits and len(dataset.captions):
        options = s.target_encoder, device, s.seed, columns, s.images or None
        dataset = CaptionedDataset.read(s.data, *options, skip, text_alone).dataset
    elif skip and not text_alone:
        dataset = without_unreadable(dataset)
    part = dataset.to_predict() if split == "test" else dataset.split(split)
    if not len(part):
        raise ValueError(f"no image in {split!r}: {dataset.summary()}")
    return part
