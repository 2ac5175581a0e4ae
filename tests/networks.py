"""Tile networks of random weights that tell tiles apart, and bags that they can tell apart."""

from dataclasses import dataclass

import numpy as np
import torch

from qupath_hccmil.mil.network import TileNetwork


@dataclass(frozen=True)
class DrawnBag:
    """Tiles of a patient: poor outcomes have many bright nuclei in the heat map."""

    patient: str
    tiles: np.ndarray

    def __len__(self):
        return len(self.tiles)

    def read(self, indices):
        return self.tiles[indices]


def drawn_bags(count: int, start: int = 0, tiles: int = 6, side: int = 32):
    """Bags of patients and their labels; every other outcome is good."""
    bags, labels = [], {}
    for number in range(start, start + count):
        rng = np.random.default_rng(number)
        pixels = rng.integers(126, 131, (tiles, 4, side, side), dtype=np.uint8)
        good = number % 2
        pixels[:, 3] = 0 if good else 255
        bags.append(DrawnBag(f"p{number}", pixels))
        labels[f"p{number}"] = good
    return bags, labels


def random_network(tiles: np.ndarray, seed: int = 0) -> TileNetwork:
    """Random weights that pass a signal on: statistics of batch normalisation are measured.

    Without that the layers multiply to nothing: all logits are equal but for rounding, and what
    a test sees of them is of the processor.

    Parameters
    ----------
    tiles : (n, 4, s, s) uint8
        What the statistics are measured on.
    seed : int
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = TileNetwork()
    norms = [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.train()
        norm.momentum = None
    with torch.no_grad():
        network(torch.from_numpy(tiles).float() / 255)
    return network.eval()
