"""The members of a blend: their runs, and their predictions in one order of rows."""

from collections.abc import Mapping, Sequence

from clipknight.data.datasets import Dataset
from clipknight.data.listing import among
from clipknight.embedding.embeddings import Embeddings, concatenate
from clipknight.ensemble.predictors import load_predictor
from clipknight.messages import a_few
from clipknight.training.runs import Run

import numpy as np
import pandas as pd


def open_members(names: Sequence[str]) -> dict[str, Run]:
    """The members' runs by name. ValueError for fewer than two, or for one given twice."""
    runs = [Run.open(name) for name in names]
    if len(runs) < 2:
        raise ValueError(f"a blend needs two members or more, not {len(runs)} ({a_few(names)}): --members a b")
    folders = [run.folder.resolve() for run in runs]
    twice = [run.name for run, folder in zip(runs, folders) if folders.count(folder) > 1]
    if twice:
        raise ValueError(f"a member is given twice: {a_few(twice)}; to weigh it more use --weights")
    return {run.name: run for run in runs}


def aligned_members(members: Mapping[str, Embeddings]) -> dict[str, Embeddings]:
    """All members' predictions in the row order of the first. ValueError when ids or dimensions differ."""
    if len({member.dim for member in members.values()}) > 1:
        dims = ", ".join(f"{name} {member.dim}" for name, member in members.items())
        raise ValueError(f"the members' predictions differ in length: {dims}; blend runs of one target encoder")
    wanted = pd.Index(pd.unique(np.concatenate([member.ids for member in members.values()])))
    lacking = {name: wanted.difference(pd.Index(member.ids)) for name, member in members.items()}
    if any(map(len, lacking.values())):
        listed = "; ".join(f"{name} lacks {len(ids):,} ({a_few(ids, 3)})" for name, ids in lacking.items() if len(ids))
        raise ValueError(f"the members predict different images, {len(wanted):,} in all: {listed}")
    first = next(iter(members.values()))
    return {name: member.aligned_to(first.ids) for name, member in members.items()}


def valid_predictions(runs: Mapping[str, Run], ids: np.ndarray, others: np.ndarray) -> dict[str, Embeddings]:
    """The members' valid rows in the order of `ids`, without those of `others`, images of further datasets.

    KeyError when they were made on another split.
    """
    try:
        members = {name: run.predictions("valid") for name, run in runs.items()}
        own = {name: rows.ids[~among(pd.Series(rows.ids), pd.Series(others))] for name, rows in members.items()}
        members = aligned_members({name: rows.aligned_to(own[name]) for name, rows in members.items()})
        return {name: member.aligned_to(ids) for name, member in members.items()}
    except KeyError as error:
        raise KeyError(
            f"{error.args[0]}; were the members made with the same --data and --seed, and with --skip_unreadable?"
        ) from None


def predicted_too(
    members: Mapping[str, Embeddings], runs: Mapping[str, Run], dataset: Dataset, device: str, workers: int
) -> dict[str, Embeddings]:
    """The members' rows, and after them those for the images of another dataset.

    A member that was itself fitted on these images has out-of-fold rows of them; all others predict them.
    """

    def of_dataset(run: Run) -> Embeddings:
        saved = run.predictions("valid")
        if among(pd.Series(dataset.ids), pd.Series(saved.ids)).all():
            return saved.aligned_to(dataset.ids)
        return load_predictor(run, device).predict(dataset, workers=workers).aligned_to(dataset.ids)

    return {name: concatenate([rows, of_dataset(runs[name])]) for name, rows in members.items()}
