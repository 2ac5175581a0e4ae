"""Tile logits straight from a runtime, without a slide."""

import numpy as np

from qupath_hccmil.scoring.network_batches import Batches


def tile_logits(runtime, tiles):
    """(n,) logits of (n, h, w, 3) tiles."""
    logits = np.full(len(tiles), np.nan)

    def store(rows, outputs):
        logits[rows] = outputs.logits

    batches = Batches(runtime, store)
    batches.add(np.arange(len(tiles)), tiles)
    batches.flush()
    runtime.wait()
    return logits
