"""Tile networks of random weights that tell tiles apart, and bags that they can tell apart."""

from dataclasses import dataclass

import numpy as np
import torch

from qupath_hccmil.mil.tile_network import TileNetwork


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
        pixels = rng.integers(100, 156, (tiles, 4, side, side), dtype=np.uint8)
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


def wired_network(slope: float = 0.0) -> TileNetwork:
    """Network in which one channel carries a tile's colour and heat map from end to end.

    All other weights are 0, which is exact on every processor and stays so in training; a random
    network's gradient is so steep that rounding decides what a few steps of it learn. Half of the
    1280 features rise with the heat map, half fall.

    Parameters
    ----------
    slope : float
        Of the output layer: the logit is about ``640·slope·(2·heat − 1)``. At 0 training has to
        find which outcome has the nuclei.
    """
    network = TileNetwork()
    features = network.mobilenet.features
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
                module.weight.zero_()
        features[0][0].weight[0, :, 1, 1] = torch.tensor([0.02, -0.01, 0.04, 1.0])
        features[0][1].bias[0] = 1  # colour goes from -1 to 1; what is below 0 is cut off
        for block in features[1:-1]:
            convolutions = [m for m in block.modules() if isinstance(m, torch.nn.Conv2d)]
            # What a residual block adds stays nothing.
            for convolution in convolutions[: -1 if block.use_res_connect else None]:
                centre = convolution.kernel_size[0] // 2
                convolution.weight[0, 0, centre, centre] = 1
        rises = torch.arange(len(features[-1][0].weight)) % 2 == 0
        features[-1][0].weight[:, 0, 0, 0] = torch.where(rises, 1.0, -1.0)
        features[-1][1].bias.copy_(torch.where(rises, -1.0, 2.0))
        output = network.mobilenet.classifier[1]
        output.weight.copy_(torch.where(rises, slope, -slope))
        output.bias.zero_()
    return network.eval()
