"""Where an image's embedding comes from: the predictions of any run, or a CLIP's joint space.

Both can ask a caption index for neighbours, as long as the index holds captions of the same space.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from clipknight.data.datasets import Dataset
from clipknight.embedding.cache import image_embeddings, subregion_embeddings
from clipknight.embedding.clip import load_clip
from clipknight.embedding.embeddings import Embeddings
from clipknight.embedding.settings import MINILM
from clipknight.ensemble.predictors import PREDICTORS, Predictor, load_predictor
from clipknight.messages import advice
from clipknight.paths import existing
from clipknight.training.runs import Run, run_folder

import torch

if TYPE_CHECKING:
    from clipknight.embedding.clip_encoder import ClipEncoder


@dataclass(frozen=True)
class EmbeddingSource:
    """Embeddings of images in a `space`: ["target", name of the target encoder] or ["clip", text tower's digest]."""

    name: str
    space: list[str]
    run: Run | None = None  # a run that predicts; else `encoder` embeds
    encoder: "ClipEncoder | None" = None
    device: str = "auto"

    def embeddings(
        self, dataset: Dataset, workers: int = 2, skip_unreadable: bool = False, regions: int = 0
    ) -> Embeddings:
        """Unit rows by image id, cached. UnreadableMedia unless skipped.

        With `regions`, an encoder gives as many sub-regions of each image too; a run knows none.
        """
        options = {"workers": workers, "skip_unreadable": skip_unreadable}
        if self.encoder is None:
            return self.predictor.predict(dataset, **options)
        if regions:
            return subregion_embeddings(self.encoder, dataset, regions, **options)
        return image_embeddings(self.encoder, dataset, **options)

    @cached_property
    def predictor(self) -> Predictor:
        """What predicts them. ValueError for an encoder."""
        if self.run is None:
            raise ValueError(f"{self.name} embeds images and predicts no caption: give from_, a run that predicts")
        return load_predictor(self.run, self.device)

    def of_split(
        self, part: Dataset, split: str, workers: int = 2, skip_unreadable: bool = False, regions: int = 0
    ) -> Embeddings:
        """Rows of the images of a split: an ensemble's own, out-of-fold ones, where the run has saved them.

        Of images that are of no split ("") as `embeddings` has them.
        """
        if split and self._made_on(part) and (self.run.folder / "predictions" / split).is_dir():
            saved = self.run.predictions(split)
            if set(part.ids) <= set(saved.ids):
                return saved.aligned_to(part.ids)
        return self.embeddings(part, workers, skip_unreadable, regions)

    def _made_on(self, part: Dataset) -> bool:
        """Whether this is a run on that dataset: images of another may have the same ids."""
        if self.run is None or not self.run.settings.get("data"):
            return False
        data = existing(Path(self.run.settings["data"]).expanduser()).resolve()
        return part.root.resolve().is_relative_to(data.parent if data.is_file() else data)


def open_source(name: str, device: str = "auto") -> EmbeddingSource:
    """The source called `name`: a run that predicts, or an encoder with a joint space (ValueError for others)."""
    folder = run_folder(name)
    if (folder / "run.json").is_file() and (run := Run.open(name)).kind in PREDICTORS:
        return source_of_run(run, device)
    encoder = load_clip(str(folder) if folder.exists() else name, device)
    if not encoder.joint:
        raise ValueError(
            f"{name!r} has no joint space of images and captions: adapt it by train_clip.py first, or name a run that "
            "predicts, such as an ensemble"
        )
    return EmbeddingSource(name, encoder_space(encoder), encoder=encoder, device=device)


def source_of_run(run: Run, device: str = "auto") -> EmbeddingSource:
    """A run that predicts, as a source."""
    return EmbeddingSource(run.name, ["target", run.settings["target_encoder"]], run=run, device=device)


def source_for(run: Run, name: str = "", device: str = "auto") -> EmbeddingSource:
    """The source called `name`, or the one a captioning run was judged by. ValueError unless it is of its space."""
    if "space" not in run.info:
        raise ValueError(f"{run.name} captions nothing: --run names a run of train_knight.py or train_maccap.py")
    if not (name := name or run.part(run.settings["from_"])):
        where = advice(": say where embeddings come from, --from RUN or ENCODER")
        raise ValueError(f"{run.name} was trained on text alone{where}")
    return fitting_source(open_source(name, device), run)


def fitting_source(source: EmbeddingSource, run: Run) -> EmbeddingSource:
    """The source. ValueError unless it is of the space in which a captioning run retrieves."""
    if source.space != run.info["space"]:
        raise ValueError(
            f"{source.name} gives embeddings of the space {source.space}, {run.name} retrieves in {run.info['space']}"
        )
    return source


def encoder_space(encoder: "ClipEncoder") -> list[str]:
    """The space of an encoder's captions, the same in every precision: machines differ in what "auto" is."""
    if encoder.captions_are_targets:
        return ["target", MINILM]
    return ["clip", replace(encoder, precision=torch.float32).fingerprint("text")]
