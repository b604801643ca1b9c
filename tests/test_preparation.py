import gc
import os
import subprocess
import sys

from clipknight.errors import early, user_errors
from clipknight.paths import ROOT

import pytest

PROGRAM = """
import os, sys
import clipknight.embedding.clip, clipknight.captioning.decoders, clipknight.ensemble.training_images, cv2, transformers
import numpy as np
from clipknight import preparation

def faults():
    import resource
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(80_000_000, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

assert not preparation.keep_freed_memory.cache_info().currsize
assert cv2.getNumThreads() > 0
level = transformers.logging.get_verbosity()
assert "TRANSFORMERS_VERBOSITY" not in os.environ
linux = sys.platform == "linux"  # the malloc is glibc's
leaving = linux and [faults() for _ in range(4)][-1]
preparation.prepare_process()
assert os.environ["TRANSFORMERS_VERBOSITY"] == "error"
print(level, transformers.logging.get_verbosity(), preparation.keep_freed_memory.cache_info().currsize)
if linux:
    print(leaving, [faults() for _ in range(4)][-1])
"""


@pytest.mark.slow
def test_importing_changes_nothing_of_the_process_and_main_does():
    """Each page of an array of 80 MB faults, until freed memory is kept: then it takes the pages another has left."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    environment.pop("TRANSFORMERS_VERBOSITY", None)
    program = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(program, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    said, *faults = done.stdout.splitlines()
    assert said == "30 40 1"
    if sys.platform == "linux":
        leaving, keeping = map(int, faults[0].split())
        assert keeping < 50 < leaving


def test_what_is_imported_is_never_looked_through_for_garbage():
    @user_errors
    def main(argv):
        return gc.isenabled(), gc.get_freeze_count() > 0

    early(lambda argv: None)
    assert not gc.isenabled()
    try:
        assert main([]) == (True, True)
        gc.unfreeze()
        assert main([]) == (True, False)  # nothing was imported since
    finally:
        gc.enable()
        gc.unfreeze()
