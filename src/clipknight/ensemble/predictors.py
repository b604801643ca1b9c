"""Runs that predict, by kind: whatever gives a target embedding for any image can be a member of a blend."""

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from clipknight.data.datasets import Dataset
from clipknight.embedding.clip import encoders_loaded_once
from clipknight.embedding.embeddings import Embeddings
from clipknight.engines.workers import Place
from clipknight.training.runs import Run, run_folder


class Predictor(Protocol):
    """What a class in PREDICTORS offers, made by `Class(run, device)`."""

    name: str

    def predict(
        self, dataset: Dataset, batch_size: int = 64, workers: int = 2, skip_unreadable: bool = False
    ) -> Embeddings:
        """Unit rows (N, target_dim) by image id. UnreadableMedia unless they are skipped."""
        ...


# Modules are named, not imported: a run of one kind needs the libraries of that kind alone.
PREDICTORS = {
    "model_a": "clipknight.ensemble.model_a:ModelAPredictor",
    "model_b": "clipknight.ensemble.model_b:ModelBPredictor",
    "blend": "clipknight.ensemble.blending:BlendPredictor",
    "bands": "clipknight.ensemble.bands:BandPredictor",
    "gate": "clipknight.ensemble.gate:GatePredictor",
    "concepts": "clipknight.ensemble.concepts:ConceptsPredictor",
    "refined": "clipknight.ensemble.refined:RefinedPredictor",
}


def predicting_run(run: Run) -> Run:
    """The run, or, where it captions what another one predicts, that one."""
    captions_of = "" if run.kind in PREDICTORS else run.part(run.settings.get("from_") or "")
    return Run.open(captions_of) if captions_of and (run_folder(captions_of) / "run.json").is_file() else run


def load_predictor(run: Run, device: str = "auto") -> Predictor:
    """The run as a predictor of any images. ValueError for a run of a kind that predicts none."""
    if run.kind not in PREDICTORS:
        raise ValueError(f"run {run.name!r} predicts nothing; runs that do are of the kinds {', '.join(PREDICTORS)}")
    with encoders_loaded_once():  # the members of a blend often stand on the same ones
        return pkgutil.resolve_name(PREDICTORS[run.kind])(run, device)


@dataclass(frozen=True)
class OpenPredictor:
    """For a worker: the predictions of the run in `folder`, on the worker's device."""

    folder: str

    def __call__(self, place: Place) -> Callable[..., Embeddings]:
        return load_predictor(Run.open(self.folder), place.device).predict


def save_split_predictions(run: Run, dataset: Dataset, s) -> None:
    """Predict the valid and, where there is one, the test split with what the run has learnt, and save both.

    `s` are the script's settings: device, workers.
    """
    predictor = load_predictor(run, s.device)
    run.save_predictions("valid", predictor.predict(dataset.split("valid"), workers=s.workers))
    if len(test := dataset.to_predict()):
        run.save_predictions("test", predictor.predict(test, workers=s.workers))
