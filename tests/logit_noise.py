"""Tile logits as another processor would round them: ``pytest --logit-noise 1e-5``.

Processors round a network's sums differently, so that a tile logit is known to about 1e-5. With
the option every tile logit, in training, validation and scoring, is moved by up to so much, and
the suite must pass as it does without. A negative number moves each logit the other way.

The move depends on the logit alone: the same tile gets the same logit each time, as on any one
processor, and what must be repeatable to the bit still is. Gradients are left as they are.

Run as a program, this is ours with logits moved by what the environment says.
"""

import os
import runpy
import sys

import torch
from torch import Tensor

from qupath_hccmil.mil.tile_network import TileNetwork

VARIABLE = "HCCMIL_TEST_LOGIT_NOISE"
# So steep that neighbouring single-precision numbers are moved apart.
_FREQUENCY = 1e6


def move_logits(most: float) -> None:
    """Move every logit of every tile network in this process by up to `most`."""
    exact = TileNetwork.forward

    def forward(self: TileNetwork, x: Tensor) -> Tensor:
        logits = exact(self, x)
        return logits + (most * torch.sin(_FREQUENCY * logits + 1)).detach()

    TileNetwork.forward = forward  # type: ignore[method-assign]


def program() -> list[str]:
    """Start of a command line of ours in a process of its own; its logits move as here."""
    return [sys.executable, "-u", "-m", __name__ if VARIABLE in os.environ else "qupath_hccmil"]


if __name__ == "__main__":
    move_logits(float(os.environ[VARIABLE]))
    runpy.run_module("qupath_hccmil", run_name="__main__")
