"""The models that the page offers: a decoder, which captions, and where its embeddings come from."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial

from clipknight.api.loading import load
from clipknight.api.model import Model
from clipknight.ensemble.predictors import PREDICTORS
from clipknight.packs import pack_of
from clipknight.page.corpus_map import CorpusMap
from clipknight.paths import STARTER_NAME, outputs
from clipknight.training.runs import Run

KEPT = 2  # models in memory at a time
OWN = "the decoder's own"  # source of embeddings


@dataclass(frozen=True)
class Offer:
    """Names of runs: `decoders` caption, `sources` predict embeddings; the first of each is shown first."""

    decoders: list[str]
    sources: list[str]


def offered(run: str = STARTER_NAME, from_: str = "") -> Offer:
    """The run that the page was started with, then the starter, then all finished runs in outputs().

    FileNotFoundError, ValueError where `run` is none that captions or predicts.
    """
    decoders, sources = [STARTER_NAME], [OWN]
    for folder in sorted(path.parent for path in outputs().glob("**/run.json")):
        if pack_of(folder) not in (None, folder.absolute()):
            continue
        found = Run(folder)
        try:
            kind, captions, finished = found.kind, "space" in found.info, found.finished
        except (ValueError, OSError):  # a damaged run is offered to nobody
            continue
        if finished and captions:
            decoders.append(found.name)
        elif finished and kind in PREDICTORS:
            sources.append(found.name)
    opened = Run.open(run)
    if "space" in opened.info:
        return Offer(_first(run, decoders), _first(from_ or OWN, sources))
    if opened.kind not in PREDICTORS:
        raise ValueError(f"run {run!r} neither predicts nor captions: --run names one that does, such as an ensemble")
    if from_:
        raise ValueError(f"run {run!r} predicts embeddings itself: --from is for a run that captions")
    return Offer(decoders, _first(run, sources))


@dataclass(frozen=True, eq=False)
class Loaded:
    """A model, and the map of the captions that it retrieves from."""

    model: Model

    def ready(self) -> "Loaded":
        """The same, with its weights and its map in memory."""
        self.model.captioner, self.map  # noqa: B018, both are loaded by the first who asks
        return self

    @cached_property
    def map(self) -> CorpusMap:
        return CorpusMap.of(self.model.captioner.retriever)


@dataclass(frozen=True)
class Shelf:
    """Models by decoder and source, each loaded once by `load`; of those not used for longest only KEPT stay."""

    load: Callable[..., Model] = partial(load, workers=0)
    _loaded: OrderedDict[tuple[str, str], Loaded] = field(default_factory=OrderedDict)

    def model(self, decoder: str, source: str) -> Loaded:
        """ValueError where the source gives embeddings of another space than the decoder retrieves in."""
        names = decoder, source
        if names not in self._loaded:
            self._loaded[names] = Loaded(self.load(decoder, from_="" if source == OWN else source))
        self._loaded.move_to_end(names)
        while len(self._loaded) > KEPT:
            self._loaded.popitem(last=False)
        return self._loaded[names]


def _first(name: str, names: list[str]) -> list[str]:
    return list(dict.fromkeys([name, *names]))
