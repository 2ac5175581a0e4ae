"""Networks of several processes share the cores of a computer, and don't all take the first."""

import os
import subprocess
import sys

import pytest

RUN_A_BATCH = """
import os
import numpy as np
from qupath_hccmil.scoring.scorer import ScorerSource

runtime = ScorerSource(device="cpu", runtime="openvino", threads=1).scorer().judge.runtime
tiles = np.zeros((runtime.batch, 224, 224, 3), np.uint8)
for _ in range(4):
    # runs in the thread of the network
    runtime.submit(tiles, lambda outputs: print(len(os.sched_getaffinity(0))))
runtime.wait()
"""


@pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity"), reason="threads can be tied on Linux only"
)
def test_no_thread_is_tied_to_a_core():
    done = subprocess.run(
        [sys.executable, "-c", RUN_A_BATCH], capture_output=True, text=True, check=True
    )
    cores = [int(line) for line in done.stdout.split()]
    assert cores == 4 * [len(os.sched_getaffinity(0))]
