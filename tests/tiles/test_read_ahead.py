"""Tiles go through in order, every one once, in full batches, with bounded look-ahead."""

import threading
import time

import numpy as np
import pytest

from qupath_hccmil.scoring.network_batches import run
from qupath_hccmil.scoring.runtime import TileOutputs
from qupath_hccmil.tiles.read_ahead import (
    CHUNK,
    LOOKAHEAD,
    Chunk,
    TileVerdict,
    chunks_of,
    read_ahead,
)


class Recorder:
    """Stands for the networks: gives back the number painted into each tile."""

    name, device, batch = "recorder", "cpu", 4

    def __init__(self):
        self.sizes = []

    def submit(self, rgb, done):
        self.sizes.append(len(rgb))
        value = rgb[:, 0, 0, 0].astype(np.float64)
        done(TileOutputs(value, value / 255))

    def wait(self):
        pass


def load(rows, keep=lambda row: True):
    verdicts = np.array(
        [TileVerdict.TISSUE if keep(row) else TileVerdict.BACKGROUND for row in rows], np.int8
    )
    rgb = np.zeros((len(rows), 2, 2, 3), np.uint8)
    rgb[:] = np.asarray(rows, np.uint8)[:, None, None, None]
    return Chunk(rows, verdicts, rgb[verdicts == TileVerdict.TISSUE])


@pytest.mark.parametrize("n_tiles", [1, 7, CHUNK, 3 * CHUNK + 5])
def test_every_tile_gets_its_own_output(n_tiles):
    runtime = Recorder()
    scored = run(read_ahead(load, chunks_of(range(n_tiles))), runtime, n_tiles)
    assert scored.logits.tolist() == list(range(n_tiles))
    assert set(runtime.sizes[:-1]) <= {4}


def test_left_out_tiles_have_no_value_and_leave_batches_full():
    runtime = Recorder()
    scored = run(
        read_ahead(lambda r: load(r, lambda row: row % 3 == 0), chunks_of(range(60))), runtime, 60
    )
    assert np.flatnonzero(np.isfinite(scored.logits)).tolist() == list(range(0, 60, 3))
    assert runtime.sizes == [4] * 5


def test_stops_at_the_wanted_number():
    scored = run(read_ahead(load, chunks_of(range(100))), Recorder(), 100, wanted=10)
    assert np.flatnonzero(np.isfinite(scored.logits)).tolist() == list(range(10))
    assert (scored.verdicts == TileVerdict.TISSUE).sum() == 10


def test_reads_ahead_no_further_than_stated():
    started = []
    lock = threading.Lock()

    def counting(rows):
        with lock:
            started.append(rows[0])
        return load(rows)

    chunks = read_ahead(counting, chunks_of(range(100 * CHUNK)), readers=2)
    next(chunks)
    time.sleep(0.2)
    assert len(started) <= 2 * LOOKAHEAD + 1
    chunks.close()


def test_an_error_while_reading_reaches_the_caller():
    def broken(rows):
        if rows[0] >= 2 * CHUNK:
            raise ValueError("tile 17")
        return load(rows)

    with pytest.raises(ValueError, match="tile 17"):
        run(read_ahead(broken, chunks_of(range(50 * CHUNK))), Recorder(), 50 * CHUNK)
    assert not [t for t in threading.enumerate() if t.name.startswith("tile-reader")]
