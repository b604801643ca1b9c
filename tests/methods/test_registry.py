"""The ways to caption by name: their options, the runs that they fit, and what they are made of."""

import dataclasses
import json
import pkgutil
import shutil

from clipknight.captioning.captioner import CaptionOptions
from clipknight.captioning.prefixes import DirectPrefix
from clipknight.methods import registry
from clipknight.methods.registry import COMPOSED, method_options, open_captioner
from clipknight.methods.retrieval import ProjectionPrefix
from clipknight.methods.settings import METHODS
from clipknight.training.runs import Run

import pytest


@pytest.mark.parametrize("method", METHODS)
def test_a_method_has_options_with_defaults(method):
    kind, composed, decoders = METHODS[method]
    options = [field for field in dataclasses.fields(pkgutil.resolve_name(kind)) if field.kw_only]
    assert all(field.default is not dataclasses.MISSING for field in options) and decoders and composed in COMPOSED


def test_options_of_a_method():
    assert method_options(ProjectionPrefix, ["temperature=0.05"], "decap") == {"temperature": 0.05}
    assert method_options(ProjectionPrefix, [], "decap") == {}


@pytest.mark.parametrize(
    "option, what",
    [
        ("beta=1", "decap has no option 'beta'; its options: temperature=0.01"),
        ("n_neighbors=1", "no option 'n_neighbors'"),
        ("temperature=warm", "'warm' is no float"),
    ],
)
def test_an_option_that_is_none(option, what):
    with pytest.raises(ValueError, match=what):
        method_options(ProjectionPrefix, [option], "decap")


def test_a_method_that_the_decoder_does_not_fit(knight_run):
    with pytest.raises(ValueError, match="trained for the method knight: decap needs a run trained for direct"):
        open_captioner(Run.open(knight_run), device="cpu", method="decap")
    with pytest.raises(ValueError, match="method 'guess' is none of knight, direct, decap, "):
        open_captioner(Run.open(knight_run), device="cpu", method="guess")


@pytest.mark.parametrize("method", ["clipre", "socratic"])
def test_what_uses_no_decoder_loads_none(knight_run, method, monkeypatch):
    monkeypatch.setattr(registry, "load_knight", None)
    captioner = open_captioner(Run.open(knight_run), method, device="cpu")
    assert not hasattr(captioner.method, "decoder") and captioner.n_neighbors == 3


def test_a_run_that_names_no_method(knight_run, outputs):
    """Early runs and the starter: knight, or direct where it has no neighbours."""
    captions = []
    for name, changes in {
        "as-now": {},
        "early": {"method": None},
        "early-direct": {"method": None, "n_neighbors": 0},
    }.items():
        run = Run(shutil.copytree(Run.open(knight_run).folder, outputs / "captioning" / name))
        file = run.folder / "best" / "knight.json"
        description = json.loads(file.read_text(encoding="utf-8")) | changes
        file.write_text(json.dumps({k: v for k, v in description.items() if v is not None}), encoding="utf-8")
        captioner = open_captioner(run, device="cpu", precision="fp32")
        captions.append(captioner.caption(captioner.retriever.vectors[:4], CaptionOptions(2, 8)))
    assert captions[0].texts == captions[1].texts and captions[0].neighbours.shape == (4, 3)
    assert isinstance(captioner.method.prefix, DirectPrefix) and captions[2].neighbours.shape == (4, 1)


def test_neighbours_by_number(knight_run):
    captioner = open_captioner(Run.open(knight_run), n_neighbors=2, device="cpu")
    assert captioner.method.prefix.n_neighbors == captioner.n_neighbors == 2
