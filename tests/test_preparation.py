import os
import subprocess
import sys

from clipknight.paths import ROOT

import pytest

FAULTS = """
import resource, sys
import clipknight
import numpy as np
from clipknight.preparation import keep_freed_memory

if sys.argv[1] == "keep":
    assert keep_freed_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(80_000_000, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print([faults() for _ in range(4)][-1])
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc is Linux's")
def test_an_array_takes_the_pages_that_another_has_left():
    """Each page of an array of 80 MB faults unless it is one that the process already has."""

    def faults(what):
        program = [sys.executable, "-c", FAULTS, what]
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
        return int(subprocess.run(program, env=environment, capture_output=True, text=True, check=True).stdout)

    assert faults("keep") < 50 < faults("leave")


IMPORTED = """
import os
import clipknight.embedding.clip, clipknight.captioning.decoders, clipknight.ensemble.training_images, cv2, transformers
from clipknight import preparation
assert not preparation.keep_freed_memory.cache_info().currsize
assert cv2.getNumThreads() > 0
level = transformers.logging.get_verbosity()
assert "TRANSFORMERS_VERBOSITY" not in os.environ
preparation.prepare_process()
assert os.environ["TRANSFORMERS_VERBOSITY"] == "error"
print(level, transformers.logging.get_verbosity(), preparation.keep_freed_memory.cache_info().currsize)
"""


def test_importing_changes_nothing_of_the_process_and_main_does():
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    environment.pop("TRANSFORMERS_VERBOSITY", None)
    program = [sys.executable, "-c", IMPORTED]
    printed = subprocess.run(program, env=environment, capture_output=True, text=True, check=True).stdout
    assert printed == "30 40 1\n"
