"""Whether a pack does what its run does: measured on drawn pictures, and on captions of its corpus."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from clipknight.captioning.embedding_sources import source_for
from clipknight.captioning.knight import knight_description
from clipknight.captioning.retriever import CorpusChoice
from clipknight.data.datasets import Dataset, image_folder
from clipknight.embedding.cache import image_embeddings
from clipknight.embedding.clip import load_clip
from clipknight.embedding.embeddings import Embeddings, unit
from clipknight.ensemble.predictors import PREDICTORS, load_predictor
from clipknight.methods.registry import open_captioner
from clipknight.paths import caches_in
from clipknight.sample.drawing import draw
from clipknight.sample.scenes import draw_scenes
from clipknight.training.runs import Run

import numpy as np
from PIL import Image

PICTURES, CAPTIONS = 16, 16
LEAST_COSINE = {16: 0.9999, 8: 0.995}  # of a pack in so many bits to its run


@dataclass(frozen=True)
class Agreement:
    """`equal`: bit for bit; `cosine`: the lowest between a picture's two predictions; captions that are the same."""

    pictures: int
    equal: bool
    cosine: float
    captions: int = 0
    same_captions: int = 0

    def __str__(self) -> str:
        rows = "equal bit for bit" if self.equal else f"cosine {self.cosine:.6f} or more"
        said = f"; {self.same_captions} of {self.captions} captions the same" if self.captions else ""
        return f"{self.pictures} drawn pictures: {rows}{said}"

    def refuse_if_poor(self, bits: int) -> None:
        """ValueError where a pack is not what its run is."""
        if bits in LEAST_COSINE and self.cosine < LEAST_COSINE[bits]:
            raise ValueError(f"in {bits} bits the run is another one, cosine {self.cosine:.5f}: pack it in more")
        if bits not in LEAST_COSINE and not (self.equal and self.same_captions == self.captions):
            raise ValueError(f"the pack does not do what its run does ({self}): report this as a mistake of clipknight")

    def as_dict(self) -> dict:
        return asdict(self)


def agreement(run: Run, packed: Run, corpus: CorpusChoice, source: str, device: str) -> Agreement:
    """Of a run with the same, packed. `corpus` and `source` are what was packed in place of the run's own."""
    with drawn_pictures() as pictures:
        rows, again = _embedded(run, source, pictures, device), _embedded(packed, "", pictures, device)
    if rows is None:
        found = {"pictures": 0, "equal": True, "cosine": 1.0}
    else:
        again = again.aligned_to(rows.ids)
        cosine = float((unit(rows.vectors) * unit(again.vectors)).sum(axis=1).min())
        found = {"pictures": len(rows), "equal": bool((rows.vectors == again.vectors).all()), "cosine": cosine}
    if not _captions(run):
        return Agreement(**found)
    texts, texts_again = _captioned(run, corpus, device), _captioned(packed, CorpusChoice(), device)
    return Agreement(**found, captions=len(texts), same_captions=sum(map(str.__eq__, texts, texts_again)))


@contextmanager
def drawn_pictures() -> Iterator[Dataset]:
    """Pictures of the sample in a temporary folder, where what is computed of them is kept too."""
    with tempfile.TemporaryDirectory() as folder, caches_in(Path(folder) / "cache"):
        (images := Path(folder) / "images").mkdir()
        for scene in draw_scenes(PICTURES, seed=0):
            Image.fromarray(draw(scene, 0)[0]).save(images / f"{scene.id}.png")
        yield image_folder(images)


def _captions(run: Run) -> bool:
    return (run.folder / "best" / "knight.json").is_file()


def _embedded(run: Run, source: str, pictures: Dataset, device: str) -> Embeddings | None:
    """What a run predicts of pictures, or has embedded of them before it captions; None where nothing embeds for it."""
    if run.kind in PREDICTORS:
        return load_predictor(run, device).predict(pictures, workers=0)
    if not _captions(run):
        return image_embeddings(load_clip(str(run.folder), device), pictures, workers=0)
    if not (source or run.settings["from_"]):
        return None
    return source_for(run, source, device).embeddings(pictures, workers=0)


def _captioned(run: Run, corpus: CorpusChoice, device: str) -> list[str]:
    """What a run says of a few captions of its corpus: their vectors stand for pictures."""
    blind = knight_description(run.folder / "best")["method"] == "blind"  # which captions in no way of its own
    captioner = open_captioner(run, "magic" if blind else "auto", corpus=corpus, device=device)
    rows = np.linspace(0, len(captioner.retriever.corpus) - 1, CAPTIONS).astype(int)
    return captioner.caption(captioner.retriever.vectors[np.unique(rows)]).texts
