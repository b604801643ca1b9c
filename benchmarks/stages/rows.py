"""Rows of numbers: Model B's neighbours, and a submission."""

from functools import cached_property
from pathlib import Path

from clipknight.embedding.embeddings import Embeddings, unit
from clipknight.ensemble.knn import DistanceWeightedKNN
from clipknight.ensemble.submission import write_submission
from stages.base import Stage

import numpy as np
import pandas as pd
from knn_speed import paper_weights
from machine_limits import Limits, median_seconds
from sklearn.neighbors import KNeighborsRegressor

TARGET = 384


class Neighbors(Stage):
    name, unit = "Model B: 60,000 keys of 768 numbers, k 100", "images"
    written = "scikit-learn's `KNeighborsRegressor`"
    bound_by = "multiplying"
    keys, dim, neighbors = 60_000, 768, 100

    def __init__(self, folder: Path, quick: bool):
        self.items = 256 if quick else 1024
        shapes = (self.keys, self.dim), (self.keys, TARGET), (self.items, self.dim)
        draw = np.random.default_rng(0)
        self.data = [unit(draw.standard_normal(shape, dtype=np.float32)) for shape in shapes]

    @cached_property
    def sklearn(self) -> KNeighborsRegressor:
        keys, values, _ = self.data
        chosen = {"weights": paper_weights, "metric": "cosine", "algorithm": "brute"}
        return KNeighborsRegressor(self.neighbors, **chosen).fit(keys, values)

    @cached_property
    def knn(self) -> DistanceWeightedKNN:
        keys, values, _ = self.data
        return DistanceWeightedKNN(self.neighbors).fit(keys, values)

    def plain(self) -> None:
        self.sklearn.predict(self.data[2])

    def ours(self) -> None:
        self.knn.predict(self.data[2])

    def least_seconds(self, limits: Limits) -> float:
        return limits.seconds(2 * self.items * self.keys * self.dim)


class Submission(Stage):
    name, unit = "writing a submission", "rows"
    written = "a DataFrame's `to_csv`"
    bound_by = "writing as many bytes"

    def __init__(self, folder: Path, quick: bool):
        images = 500 if quick else 2_000
        self.items, self.file = images * TARGET, folder / "submission.csv"
        ids = np.array([f"image{number:06}" for number in range(images)], dtype=object)
        vectors = np.random.default_rng(0).standard_normal((images, TARGET), dtype=np.float32)
        self.predictions = Embeddings(ids, unit(vectors))

    def plain(self) -> None:
        names = [f"{i}_{number}" for i in self.predictions.ids for number in range(TARGET)]
        table = pd.DataFrame({"imgId_eId": names, "val": self.predictions.vectors.ravel()})
        table.to_csv(self.file, index=False)

    def ours(self) -> None:
        write_submission(self.predictions, self.file)

    def least_seconds(self, limits: Limits) -> float:
        self.ours()
        content = self.file.read_bytes()
        return median_seconds(lambda: self.file.write_bytes(content))
