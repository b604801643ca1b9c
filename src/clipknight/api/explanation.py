"""Why a model says what it says of an image."""

from collections.abc import Iterator
from dataclasses import dataclass

from clipknight.captioning.media_set import Confidence
from clipknight.data.datasets import Dataset
from clipknight.embedding.embeddings import Embeddings, unit
from clipknight.ensemble.predictors import Predictor

import pandas as pd


@dataclass(frozen=True, eq=False)
class Explanation:
    """The `caption` of an image, and what it came from, the nearest first.

    `neighbours`: caption, cosine, the corpus captions nearest to the image's embedding. `members`: member, cosine of
    each member's prediction to the ensemble's. `concepts`: concept, probability, where a member recognises some.
    """

    image: str
    caption: str
    neighbours: pd.DataFrame
    members: pd.DataFrame
    concepts: pd.DataFrame
    expected: Confidence | None = None

    @property
    def confidence(self) -> float:
        """The cosine to expect to a person's caption, where the model says it; else that of the nearest caption."""
        return self.expected.expected if self.expected else float(self.neighbours["cosine"].iloc[0])

    @property
    def unfamiliar(self) -> bool:
        """Whether the image is unlike those that the model's confidence was fitted on."""
        return bool(self.expected and self.expected.unfamiliar)

    def __str__(self) -> str:
        tables = (table for table in (self.neighbours, self.members, self.concepts) if len(table))
        rows = [f"  {number:.3f}  {name}" for table in tables for name, number in table.itertuples(index=False)]
        note = f" ({self.expected})" if self.expected else ""
        return "\n".join([f"{self.image}: {self.caption}{note}", *rows])


def cosines_of_members(predictor: Predictor | None, prediction: Embeddings, dataset: Dataset) -> pd.DataFrame:
    """Rows of member and cosine: what each member of an ensemble predicts for one image, compared with `prediction`."""
    whole = unit(prediction.vectors[0])
    rows = {
        name: float(unit(member.predict(dataset, workers=0).vectors[0]) @ whole)
        for name, member in members_of(predictor).items()
    }
    return _falling(list(rows.items()), "member", "cosine")


def recognised_concepts(predictor: Predictor | None, dataset: Dataset, count: int) -> pd.DataFrame:
    """Rows of concept and probability: what the first member that recognises concepts sees in one image."""
    known = next((each for each in _with_all_below(predictor) if hasattr(each, "recognised")), None)
    return _falling(known.recognised(dataset, count)[0] if known else [], "concept", "probability")


def nearest_captions(neighbours: list[tuple[str, float]]) -> pd.DataFrame:
    """Rows of caption and cosine."""
    return _falling(neighbours, "caption", "cosine")


def members_of(predictor: Predictor | None) -> dict[str, Predictor]:
    """The members of an ensemble, or of one that a run refines, by name; of any other run none."""
    source = getattr(predictor, "source", None)
    return members_of(source) if source else getattr(predictor, "members", {})


def _with_all_below(predictor: Predictor | None) -> Iterator[Predictor]:
    """A predictor and all that it stands on: members, and what a refined run refines."""
    yield predictor
    for below in (getattr(predictor, "source", None), *members_of(predictor).values()):
        if below:
            yield from _with_all_below(below)


def _falling(rows: list[tuple[str, float]], text: str, number: str) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=[text, number]).astype({text: "str", number: float})
    return table.sort_values(number, ascending=False, kind="stable", ignore_index=True)
