"""From a folder of images straight to a submission: what a sample asks for, in its order, nothing left out."""

from dataclasses import dataclass
from pathlib import Path

from clipknight.data.datasets import Dataset, image_folder, listed_images
from clipknight.embedding.embeddings import Embeddings, unit
from clipknight.ensemble.predictors import Predictor
from clipknight.ensemble.submission import check_written, write_submission
from clipknight.ensemble.submission_rows import sample_ids
from clipknight.messages import a_few

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Submitted:
    """What a submission holds: `dim` numbers for each image, `missing` and `unreadable` ones filled with the mean."""

    images: int
    dim: int
    missing: int
    unreadable: int


def submit_images(
    predictor: Predictor,
    images: str | Path,
    sample: str | Path,
    out: str | Path,
    fill_missing: str = "",
    batch_size: int = 64,
    workers: int = 2,
) -> Submitted:
    """Write `out`, checked against `sample`: the prediction of each image that it asks for, from the folder `images`.

    With `fill_missing` "mean", images that are not there or cannot be read get the mean prediction; otherwise they are
    a ValueError.
    """
    asked = sample_ids(sample)
    dataset = asked_images(images, asked)
    if len(dataset) < len(asked) and not fill_missing:
        raise lacking("are not in", images, asked, dataset.ids)
    predictions = predictor.predict(dataset, batch_size=batch_size, workers=workers, skip_unreadable=True)
    if len(predictions) < len(dataset) and not fill_missing:
        raise lacking("cannot be read in", images, dataset.ids, predictions.ids)
    filled = with_mean(predictions, asked)
    write_submission(filled, out, sample)
    check_written(filled, out)
    return Submitted(len(asked), filled.dim, len(asked) - len(dataset), len(dataset) - len(predictions))


def lacking(what: str, images: str | Path, wanted: np.ndarray, there: np.ndarray) -> ValueError:
    """The error that names images without a prediction."""
    names = pd.Index(wanted).difference(pd.Index(there))
    return ValueError(
        f"{len(names):,} of {len(wanted):,} images asked for {what} {images}: {a_few(names)}; --fill_missing mean "
        "gives them the mean prediction"
    )


def asked_images(folder: str | Path, ids: np.ndarray) -> Dataset:
    """The images of `folder` that are called so, with or without the subfolder they lie in. FileNotFoundError for none.

    ValueError for two of one name.
    """
    found = image_folder(folder).images
    last = found["id"].str.rpartition("/")[2]
    names = found["id"] if found["id"].isin(ids).any() else last
    rows = found.assign(name=names)[names.isin(ids)]
    if rows.empty:
        raise FileNotFoundError(f"none of the {len(ids):,} images asked for is in {folder}, such as {a_few(ids, 3)}")
    if (twice := rows["name"].duplicated(keep=False)).any():
        raise ValueError(f"{folder} has an image asked for more than once: {a_few(rows['path'][twice], 3)}")
    path_of = rows.set_index("name")["path"]
    return listed_images({id: path_of[id] for id in ids if id in path_of.index})


def with_mean(predictions: Embeddings, ids: np.ndarray) -> Embeddings:
    """The rows of `ids`; those without a prediction get the mean of all."""
    missing = pd.Index(ids).difference(pd.Index(predictions.ids))
    if not len(missing):
        return predictions.aligned_to(ids)
    mean = np.repeat(unit(predictions.vectors).mean(axis=0, keepdims=True), len(missing), axis=0)
    vectors = np.concatenate([predictions.vectors, mean.astype(np.float32)])
    return Embeddings(np.concatenate([predictions.ids, missing]), vectors, predictions.meta).aligned_to(ids)
