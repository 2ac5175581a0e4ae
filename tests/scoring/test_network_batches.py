"""Batches on their way to the networks."""

import numpy as np
import pytest

from qupath_hccmil.scoring.network_batches import run
from qupath_hccmil.tiles.read_ahead import Chunk, TileVerdict


class SlowNetwork:
    """Takes a batch and is done with it only when it is waited for, as OpenVINO's may be."""

    name, device, batch = "slow", "cpu", 2

    def __init__(self) -> None:
        self.under_way = 0

    def submit(self, rgb, done) -> None:
        self.under_way += 1

    def wait(self) -> None:
        self.under_way = 0


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_nothing_is_under_way_after_an_interruption(error):
    def chunks():
        kept = np.full(2, TileVerdict.TISSUE, np.int8)
        yield Chunk(np.arange(2), kept, np.zeros((2, 4, 4, 3), np.uint8))
        raise error

    network = SlowNetwork()
    with pytest.raises(error):
        run(chunks(), network, 4)
    assert network.under_way == 0
