"""Messages advise flags that the script has which shows them."""

import importlib
import re
from collections.abc import Iterator

from clipknight.settings_help import shown_name

import pytest
from reached_code import definitions, modules, reached, words_of

NAMED = re.compile(r"\b(\w+)\.py\b([^;]*)")  # a script, and what is to be passed to it
FLAG = re.compile(r"--([a-z_]+)")
SCRIPTS = [name for name in modules() if f"{name}:main" in definitions() and not name.startswith("clipknight")]
EVERY_SCRIPT_HAS = {"help", "config"}
# Flags in words that are no advice to pass them to the script that shows them.
NO_ADVICE = {
    "clipknight.pipeline_file:as_flags": {"no_"},  # made for other scripts
    "pipeline:run_step": {"resume", "overwrite"},
    "clipknight.captioning.decoders:_smollm2": {"no"},  # pip's
    "kaggle_kit:next_step": {"dir"},  # of the command kaggle
    "clipknight.packing.kaggle_kit:_pip": {"disable", "quiet"},
    "clipknight.packing.kaggle_kit:write_wheels": {"dest", "implementation", "no", "only", "platform", "wheel"},
    "clipknight.packing.kaggle_notebook:INSTALL": {"find", "no", "quiet"},
    "clipknight.packing.sixteen_bits:REMEDY": {"overwrite"},  # of the training
    "clipknight.captioning.knight:AGAIN": {"overwrite"},  # of the training, which is named beside it
    "clipknight.embedding.clip:REMEDY": {"overwrite"},
    "clipknight.training.runs:Run._remedy": {"overwrite"},
    "clipknight.training.runs:Run.to_finish": {"overwrite", "resume", "run"},
    "clipknight.scoring.seed_scores:read_seed_scores": {"seed"},
    "clipknight.settings_help:_typed": {"no_"},  # of a switch
    "clipknight.plots.gallery:PAGE": {"bar", "card", "faint", "line", "page", "text"},  # of a page's style
    "studies.average_towers:main": {"encoder"},  # what others do with the result
    # Said to those alone who gave a flag that the message is about, or have it.
    "clipknight.captioning.decoders:compact_gpt2": {"width"},
    "clipknight.captioning.knight:Knight.check_room": {"max_tokens"},
    "clipknight.captioning.training_corpus:TrainingCorpus.read": {"space", "from"},
    "clipknight.captioning.training_corpus:_check": {"data", "corpus", "skip_unreadable", "from"},
    "clipknight.errors:_after_interrupt": {"resume"},
    "clipknight.methods.registry:method_options": {"options"},
    "clipknight.training.run_folders:claim": {"run"},
    "clipknight.training.run_folders:refuse_unless_free": {"resume", "overwrite", "run"},
}


def beginnings(script: str) -> Iterator[tuple[str, set[str]]]:
    """The functions that a script's command lines begin in, each with the flags that it knows."""
    module = importlib.import_module(script)
    commands = [(module.SCORES[name], command.settings) for name, command in getattr(module, "COMMANDS", {}).items()]
    for function, settings in commands or [(module.main, module.Settings)]:
        flags = {shown_name(name) for name in settings.__dataclass_fields__}
        yield f"{function.__module__}:{function.__name__}", flags | EVERY_SCRIPT_HAS


def flags_of(script: str) -> set[str]:
    return set().union(*(flags for _, flags in beginnings(script)))


@pytest.mark.parametrize("script", SCRIPTS)
def test_no_flag_is_named_that_the_script_lacks(script):
    for start, flags in beginnings(script):
        found = reached(start)
        assert len(found) > 10  # the script's own functions and what they call
        for key in found:
            for text in words_of(key, but_of="advice"):
                lacking = set(FLAG.findall(text)) - flags - NO_ADVICE.get(key, set())
                assert not lacking or NAMED.search(text), f"{start} shows {lacking} of {key}: {text[:200]}"


def test_what_is_no_advice_is_there():
    for key, flags in NO_ADVICE.items():
        named = {flag for text in words_of(key, but_of="advice") for flag in FLAG.findall(text)}
        assert flags <= named, f"{key} has no more {flags - named}"


def test_a_script_that_is_named_has_the_flags_named_with_it():
    seen = 0
    for key in definitions():
        for text in words_of(key):
            for script, passed in NAMED.findall(text):
                flags = set(FLAG.findall(passed.split(" or ")[0]))
                if script in SCRIPTS and flags:
                    seen += 1
                    assert flags <= flags_of(script), f"{key}: {text}"
    assert seen > 10


def test_methods_and_what_is_imported_late_are_followed():
    found = reached("predict:main")
    assert "clipknight.ensemble.model_b:ModelBPredictor.predict" in found  # named in a table
    assert "clipknight.data.listing:_without_missing" in found  # called by what is called
    assert "clipknight.ensemble.head_training:train_head" not in found
