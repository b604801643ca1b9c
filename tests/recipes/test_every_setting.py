"""Of every script: each setting that it accepts is read, is explained, and has a default that its own range allows."""

import dataclasses
import importlib
import inspect

from clipknight.ensemble.heads import head_class
from clipknight.ensemble.settings import HEADS
from clipknight.paths import ROOT
from clipknight.settings import fill

import pytest
from settings_readers import parsed_settings

SCRIPTS = sorted(str(file.relative_to(ROOT / "src").with_suffix("")) for file in ROOT.glob("src/**/*.py"))
SCRIPTS = [name.replace("/", ".") for name in SCRIPTS if not name.startswith("clipknight/")]
READ_BY_NAME = {"flip_tta"}  # by what predicts, from the settings.yaml that the script writes
READ_BY_NAME |= {"accumulate", "save_every", "track"}  # by TrainingState, which keeps the settings
READ_BY_NAME |= {
    name for head in map(head_class, HEADS) for name in inspect.signature(head).parameters
}  # by head_description


@pytest.mark.parametrize("script", SCRIPTS)
def test_each_setting_is_read(script):
    found = list(parsed_settings(importlib.import_module(script)))
    assert found
    for settings, read in found:
        assert {field.name for field in dataclasses.fields(settings)} - read <= READ_BY_NAME


@pytest.mark.parametrize("script", SCRIPTS)
def test_each_default_is_allowed(script):
    for settings, _ in parsed_settings(importlib.import_module(script)):
        missing = dataclasses.MISSING
        fields = dataclasses.fields(settings)
        factories = {f.name: f.default_factory() for f in fields if f.default_factory is not missing}
        required = {
            f.name: ["x"] if "list" in str(f.type) else "x" for f in fields if f.default is f.default_factory is missing
        }
        values = {f.name: f.default for f in fields if f.default is not missing} | factories | required
        assert dataclasses.asdict(fill(settings, values)) == values
