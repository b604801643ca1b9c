"""Rows of numbers: Model B's neighbours, and a submission."""

from functools import cached_property
from pathlib import Path

from clipknight.embedding.embeddings import Embeddings, unit
from clipknight.ensemble.submission import write_submission
from stages.base import Stage

import numpy as np
import pandas as pd
from knn_speed import Settings, make_data, make_method
from machine_limits import Limits, median_seconds

TARGET = 384


class Neighbors(Stage):
    name, unit = "Model B: 60,000 keys of 768 numbers, k 100", "images"
    written = "scikit-learn's `KNeighborsRegressor`"
    bound_by = "multiplying"

    def __init__(self, folder: Path, quick: bool):
        self.items = 256 if quick else 1024
        self.settings = Settings(queries=self.items)
        make_data(self.settings, folder)
        self.keys, self.values, self.queries = (
            np.load(folder / f"{part}.npy") for part in ("keys", "values", "queries")
        )

    def fitted(self, name: str):
        return make_method(name, self.settings.neighbors).fit(self.keys, self.values)

    @cached_property
    def sklearn(self):
        return self.fitted("scikit-learn")

    @cached_property
    def knn(self):
        return self.fitted("exact")

    def plain(self) -> None:
        self.sklearn.predict(self.queries)

    def ours(self) -> None:
        self.knn.predict(self.queries)

    def least_seconds(self, limits: Limits) -> float:
        return limits.seconds(2 * self.items * self.settings.keys * self.settings.dim)


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
