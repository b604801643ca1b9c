"""Questions about images, answered by a language model that never sees one (zero-shot, as in MacCap, Qiu et al. 2024).

The image enters its prompt in one of two ways: as text, what Knight says of it and the captions nearest to its
embedding; or as the vectors of a run's mapper, where the run was trained to make that very language model caption.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from clipknight.captioning.captioner import Captioner, CaptionOptions, ImageVectors
from clipknight.methods.instruction_model import IMAGE, InstructionModel

import numpy as np
import pandas as pd
from torch import Tensor

PROMPT = "{image}Question: {question} Short answer:"  # MacCap's
SHOWN = "A picture: {own}\nSimilar pictures: {near}\n"


@dataclass(frozen=True)
class Shown:
    """N images as a prompt has them: `texts` (N,) and, where they are more than text, `vectors` (N, p, width)."""

    texts: list[str]
    vectors: Tensor | None = None

    def of(self, rows: Sequence[int]) -> "Shown":
        """Of the images `rows`, in that order; an image may come again."""
        return Shown([self.texts[row] for row in rows], None if self.vectors is None else self.vectors[list(rows)])

    @classmethod
    def nothing(cls, count: int) -> "Shown":
        """No image at all: what the language model takes for granted."""
        return cls([""] * count)


def as_captions(
    captioner: Captioner, embeddings: np.ndarray, count: int = 5, options: CaptionOptions | None = None
) -> Shown:
    """Images (N, D) as the run's own caption of each, and the `count` captions of its corpus nearest to it."""
    own = captioner.caption(embeddings, options).texts
    if not count:
        return Shown([f"A picture: {text}\n" for text in own])
    _, rows = captioner.retriever.search(embeddings, count)
    texts = captioner.retriever.corpus.texts
    near = ["; ".join(text.strip(" .") for text in texts[nearest]) for nearest in rows]
    return Shown([SHOWN.format(own=text, near=texts) for text, texts in zip(own, near, strict=True)])


def as_prefix(captioner: Captioner, embeddings: np.ndarray) -> Shown:
    """Images (N, D) as the vectors that the run's decoder captions them from."""
    vectors = captioner.method.prefix.vectors(ImageVectors(embeddings))
    return Shown([f"{IMAGE}\n"] * len(embeddings), captioner.method.decoder.mapped(vectors))


def prompts(shown: Shown, questions: Sequence[str]) -> list[str]:
    """One prompt for each question, about the image of the same place."""
    return [
        PROMPT.format(image=text, question=" ".join(question.split()))
        for text, question in zip(shown.texts, questions, strict=True)
    ]


def answers(
    model: InstructionModel,
    shown: Shown,
    rows: pd.DataFrame,
    among: Mapping[str, Sequence[str]],
    max_new_tokens: int = 10,
    calibrate: bool = False,
) -> list[str]:
    """An answer to each question of `rows`: one `among` those for its kind or, where that is empty, free text."""
    if not among:
        return answered(model, shown, rows["question"].tolist(), max_new_tokens)
    said = np.empty(len(rows), dtype=object)
    for kind, places in rows.groupby("kind", sort=False).indices.items():
        asked = rows["question"].iloc[places].tolist()
        said[places] = chosen(model, shown.of(places), asked, among[kind], calibrate)
    return said.tolist()


def answered(model: InstructionModel, shown: Shown, questions: Sequence[str], max_new_tokens: int = 10) -> list[str]:
    """The first line that the model says to each question, in at most so many tokens."""
    said = model.say(prompts(shown, questions), max_new_tokens, shown.vectors)
    return [next((line.strip() for line in text.splitlines() if line.strip()), "") for text in said]


def chosen(
    model: InstructionModel, shown: Shown, questions: Sequence[str], choices: Sequence[str], calibrate: bool = False
) -> list[str]:
    """Of the `choices`, for each question the one that the model finds likeliest.

    With `calibrate`, the one that the image makes likelier by the largest factor (Holtzman et al. 2021): what the model
    would say to the question anyway, without an image, does not count. Where no image is shown, that is all there is.
    """
    likely = model.log_likelihoods(prompts(shown, questions), choices, shown.vectors)
    if calibrate and any(shown.texts):
        likely -= _anyway(model, questions, choices)
    return [choices[best] for best in likely.argmax(axis=1)]


def _anyway(model: InstructionModel, questions: Sequence[str], choices: Sequence[str]) -> np.ndarray:
    different = list(dict.fromkeys(questions))
    likely = model.log_likelihoods(prompts(Shown.nothing(len(different)), different), choices)
    return likely[[different.index(question) for question in questions]]
