"""The ways to caption, by name, and how one is opened for a run.

`knight`   the nearest captions as prefix of the decoder (Wang et al. 2023)
`direct`   the embedding itself as prefix: for CapDec, and for Knight at k = 0
`decap`    the embedding projected onto the corpus as prefix (DeCap)
`anchors`  the embedding and the concepts nearest to it as prefix (CLMs)
`maccap`   the embeddings of an image's sub-regions, with noise, as prefix (MacCap)
`clipre`   the nearest caption as it stands: no decoder
`magic`    a search among a blind language model's likeliest words for those that suit the image (MAGIC)
`zerocap`  a blind language model whose memory of its text is bent towards the image before each token (ZeroCap)
`etp`      a blind language model after pseudo-tokens that are learnt for each image or video (ETP)
`socratic` an instructed language model that is told what is detected in the image (SMs)
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

from clipknight.captioning.caption_index import CaptionIndex
from clipknight.captioning.captioner import Captioner
from clipknight.captioning.knight import load_knight
from clipknight.data.caption_table import Columns
from clipknight.devices import pick_device, pick_precision
from clipknight.embedding.corpora import Corpus, caption_encoder, corpus_embeddings, read_corpus
from clipknight.methods.clipre import CLIPRe
from clipknight.methods.clms import AnchorCaptioner
from clipknight.methods.decap import DeCap
from clipknight.methods.etp import PseudoTokens
from clipknight.methods.maccap import MacCap
from clipknight.methods.magic import MAGIC
from clipknight.methods.socratic import Socratic
from clipknight.methods.zerocap import ZeroCap
from clipknight.training.runs import Run, images_of_split

import yaml


class Method(NamedTuple):
    """A way to caption; `decoders`: what a run may have been trained for, to be captioned with in this way."""

    captioner: type[Captioner]
    decoders: tuple[str, ...]


METHODS = {
    "knight": Method(Captioner, ("knight",)),
    "direct": Method(Captioner, ("direct",)),
    "decap": Method(DeCap, ("direct",)),
    "anchors": Method(AnchorCaptioner, ("anchors",)),
    "maccap": Method(MacCap, ("maccap",)),
    "clipre": Method(CLIPRe, ("knight", "direct", "anchors", "maccap")),
    "magic": Method(MAGIC, ("blind",)),
    "zerocap": Method(ZeroCap, ("blind",)),
    "etp": Method(PseudoTokens, ("blind",)),
    "socratic": Method(Socratic, ("knight", "direct", "anchors", "maccap", "blind")),
}


def open_captioner(
    run: Run,
    corpus: Sequence[str] = (),
    corpus_share: float = 0.0,
    index: str = "exact",
    device: str = "auto",
    precision: str = "auto",
    batch_size: int = 64,
    method: str = "auto",
    options: Sequence[str] = (),
    corpus_separator: str = "",
) -> Captioner:
    """A run of train_knight.py as a captioner, retrieving from its own corpus unless `corpus` names another.

    `method` is one of METHODS, "auto" the one the run was trained for; `options` are NAME=VALUE, the method's own.
    ValueError for unknown ones, and where the run's decoder was trained for another prefix than the method gives it.
    """
    model, tokenizer, description = load_knight(run.folder / "best")
    trained_for = description.get("method", "knight" if description["n_neighbors"] else "direct")
    method = trained_for if method == "auto" else method
    if method == trained_for == "blind":
        fitting = ", ".join(name for name, (_, decoders) in METHODS.items() if "blind" in decoders)
        raise ValueError(f"{run.name} is a language model of captions alone: say how to use it, --method {fitting}")
    if method not in METHODS:
        raise ValueError(f"method {method!r} is none of {', '.join(METHODS)}")
    captioner, decoders = METHODS[method]
    if trained_for not in decoders:
        raise ValueError(
            f"{run.name} was trained for the method {trained_for}: {method} needs a run trained for "
            f"{' or '.join(decoders)}"
        )
    trained_with = description.get("options", {}) if method == trained_for else {}
    own = trained_with | method_options(captioner, options, method)
    s = run.settings
    columns = Columns(s["image_column"], s["caption_column"], s["split_column"])
    if sources := list(corpus) or s["corpus"]:
        captions = read_corpus(sources, corpus_separator or s["corpus_separator"], columns, s["seed"])
    else:
        captions = Corpus.of(images_of_split(run, "train", device=device))
    captions = captions.share(corpus_share or (1.0 if corpus else s["corpus_share"]), s["seed"])
    rows = corpus_embeddings(captions, s["space"], s["target_encoder"], device)
    encode = caption_encoder(s["space"], s["target_encoder"], device)
    device = pick_device(device)
    return captioner(
        model=model.to(device),
        tokenizer=tokenizer,
        corpus=captions,
        index=CaptionIndex(rows.vectors, index),
        n_neighbors=description["n_neighbors"],
        precision=pick_precision(precision, device),
        batch_size=batch_size,
        encode=encode,
        description=description,
        **own,
    )


def method_options(captioner: type[Captioner], options: Sequence[str], method: str) -> dict:
    """NAME=VALUE words as arguments of a captioner. ValueError for a name that is none of its own, or another type."""
    common = {field.name for field in dataclasses.fields(Captioner)}
    known = {field.name: field for field in dataclasses.fields(captioner) if field.name not in common}
    given = {}
    for option in options:
        name, _, value = option.partition("=")
        if name not in known:
            names = ", ".join(f"{name}={field.default}" for name, field in known.items()) or "none"
            raise ValueError(f"--options {option}: {method} has no option {name!r}; its options: {names}")
        kind = type(known[name].default)
        try:
            given[name] = kind(yaml.safe_load(value))
        except (TypeError, ValueError) as error:
            raise ValueError(f"--options {option}: {value!r} is no {kind.__name__}") from error
    return given
