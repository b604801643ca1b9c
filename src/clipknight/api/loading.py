"""From the name of a run, or of a pack, to a model.

>>> model = load("starter")                                                                        # doctest: +SKIP
>>> model.caption("photo.jpg")                                                                     # doctest: +SKIP
"""

from pathlib import Path

from clipknight.api.model import Model
from clipknight.captioning.embedding_sources import source_for, source_of_run
from clipknight.ensemble.predictors import PREDICTORS
from clipknight.errors import public_errors
from clipknight.preparation import prepare_process
from clipknight.training.runs import Run


@public_errors
def load(
    name: str | Path = "starter",
    *,
    from_: str = "",
    device: str = "auto",
    precision: str = "auto",
    batch_size: int = 64,
    workers: int = 0,
    language_model: str = Model.language_model,
) -> Model:
    """The model called `name`: "starter", a run's name or folder, the folder of a pack, or "hf-hub:org/name".

    A run that predicts captions by the starter's decoder. One that captions has its embeddings from the run that it was
    judged by, or from `from_`, another one or an encoder. `batch_size` bounds the memory; `workers` processes read
    images; `language_model` answers questions. FileNotFoundError, ValueError for what is no such run.
    """
    prepare_process()
    run = Run.open(name)
    options = {"device": device, "precision": precision, "batch_size": batch_size, "workers": workers}
    if "space" in run.info:
        return Model(source_for(run, from_, device), run, language_model=language_model, **options)
    if run.kind not in PREDICTORS:
        raise ValueError(f"run {run.name!r} neither predicts nor captions: load one that does, such as an ensemble")
    if from_:
        raise ValueError(f"run {run.name!r} predicts embeddings itself: from_ is for a run that captions")
    return Model(source_of_run(run, device), language_model=language_model, **options)
