"""How a run is opened as a captioner: its own parts, and those that a way to caption adds to them."""

import dataclasses
import pkgutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from clipknight.captioning.captioner import Captioner, CaptioningMethod
from clipknight.captioning.decoding import Decoder
from clipknight.captioning.knight import knight_description, load_knight
from clipknight.captioning.prefixes import PrefixCaptions
from clipknight.captioning.retriever import CorpusChoice, Retriever
from clipknight.devices import pick_device, pick_precision
from clipknight.messages import advice
from clipknight.methods.settings import METHODS, Method
from clipknight.training.runs import Run

import yaml


@dataclass(frozen=True, eq=False)
class Parts:
    """What a run has for ways to caption. The decoder is loaded by those that use it, if need be `by_transformers`."""

    run: Run
    description: dict
    retriever: Retriever
    device: str
    precision: str
    batch_size: int
    by_transformers: bool

    @cached_property
    def decoder(self) -> Decoder:
        model, tokenizer, _ = load_knight(self.run.folder / "best", self.by_transformers)
        device = pick_device(self.device)
        return Decoder(model.to(device), tokenizer, pick_precision(self.precision, device), self.batch_size)


def _by_prefix(kind: type, parts: Parts, options: dict) -> CaptioningMethod:
    return PrefixCaptions(parts.decoder, kind.described(parts.retriever, parts.description, **options))


def _by_regions(kind: type, parts: Parts, options: dict) -> CaptioningMethod:
    from clipknight.methods.maccap import MacCap

    return MacCap(parts.decoder, kind.described(parts.retriever, parts.description, **options))


def _by_retrieval(kind: type, parts: Parts, options: dict) -> CaptioningMethod:
    return kind(parts.retriever, **options)


def _by_search(kind: type, parts: Parts, options: dict) -> CaptioningMethod:
    return kind(replace(parts, by_transformers=True).decoder, parts.retriever, **options)


def _by_instruction(kind: type, parts: Parts, options: dict) -> CaptioningMethod:
    return kind(parts.retriever, parts.device, parts.precision, parts.batch_size, **options)


COMPOSED = {
    "prefix": _by_prefix,
    "regions": _by_regions,
    "retrieval": _by_retrieval,
    "search": _by_search,
    "instruction": _by_instruction,
}


def open_captioner(
    run: Run,
    method: str = "auto",
    options: Sequence[str] = (),
    *,
    corpus: CorpusChoice = CorpusChoice(),
    n_neighbors: int = 0,
    device: str = "auto",
    precision: str = "auto",
    batch_size: int = 64,
    by_transformers: bool = False,
) -> Captioner:
    """A run of train_knight.py or train_maccap.py as a captioner, with its own corpus and `n_neighbors` unless given.

    `method` is one of METHODS, "auto" the one the run was trained for; `options` are NAME=VALUE, the method's own.
    Whoever wants more of its decoder than captions asks for that `by_transformers`.
    ValueError for unknown ones, and where the run's decoder was trained for another prefix than the method gives it.
    """
    description = knight_description(run.folder / "best")
    chosen = fitting_method(run.name, method, description["method"])
    kind = pkgutil.resolve_name(chosen.kind)
    own = method_options(kind, options, description["method"] if method == "auto" else method)
    description["n_neighbors"] = n_neighbors or description["n_neighbors"]
    retriever = Retriever.of_run(run, corpus, device)
    parts = Parts(run, description, retriever, device, precision, batch_size, by_transformers)
    return Captioner(retriever, COMPOSED[chosen.composed](kind, parts, own), max(description["n_neighbors"], 1))


def fitting_method(run: str, method: str, trained_for: str) -> Method:
    """The method called `method`. ValueError unless the `run`'s decoder, `trained_for` one, fits it."""
    method = trained_for if method == "auto" else method
    if method == trained_for == "blind":
        fitting = ", ".join(name for name, known in METHODS.items() if "blind" in known.decoders)
        how = advice(f": say how to use it, --method {fitting}")
        raise ValueError(f"{run} is a language model of captions alone{how}")
    if method not in METHODS:
        raise ValueError(f"method {method!r} is none of {', '.join(METHODS)}")
    if trained_for not in METHODS[method].decoders:
        needed = " or ".join(METHODS[method].decoders)
        raise ValueError(f"{run} was trained for the method {trained_for}: {method} needs a run trained for {needed}")
    return METHODS[method]


def method_options(kind: type, options: Sequence[str], method: str) -> dict:
    """NAME=VALUE words as keyword-only fields of a method's `kind`. ValueError for other names, and other types."""
    known = {field.name: field for field in dataclasses.fields(kind) if field.kw_only}
    given = {}
    for option in options:
        name, _, value = option.partition("=")
        if name not in known:
            names = ", ".join(f"{name}={field.default}" for name, field in known.items()) or "none"
            raise ValueError(f"--options {option}: {method} has no option {name!r}; its options: {names}")
        type_ = type(known[name].default)
        try:
            given[name] = type_(yaml.safe_load(value))
        except (TypeError, ValueError) as error:
            raise ValueError(f"--options {option}: {value!r} is no {type_.__name__}") from error
    return given
