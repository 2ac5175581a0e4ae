"""The networks with torch: on a GPU, or on a CPU where it is asked for."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from qupath_hccmil.scoring.fused_networks import ScoringNetwork
from qupath_hccmil.scoring.precision import NetworkPrecision
from qupath_hccmil.scoring.runtime import Done, TileOutputs, padded, readers_for

SMALLEST_BATCH, LARGEST_BATCH = 8, 128
# The rest is for other programs, and for what torch keeps to use again.
_SHARE_OF_MEMORY = 0.5


class TorchRuntime:
    """Runs one batch after the other.

    Parameters
    ----------
    network : ScoringNetwork
        In evaluation mode.
    tile_px : int
        Side of a tile, px.
    device : {"cpu", "cuda", "mps"}
    precision : {"f32", "bf16"}
        Of the nuclei network.
    threads : int, optional
        Threads on a CPU; default: torch's own.
    """

    name = "torch"

    def __init__(
        self,
        network: ScoringNetwork,
        tile_px: int,
        device: str,
        precision: NetworkPrecision,
        threads: int | None = None,
    ) -> None:
        if threads is not None:
            torch.set_num_threads(threads)
        self.device = device
        self.precision = precision
        self.batch = SMALLEST_BATCH
        self.readers = readers_for(device)
        if precision == "bf16":
            network.unet = _InBfloat16(network.unet)
        self._network = network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if device == "cuda":
            self.batch = self._batch_for_memory(tile_px)

    def submit(self, rgb: NDArray[np.uint8], done: Done) -> None:
        """Score a batch, and return when it is done."""
        logits, nuclei = self._outputs(torch.from_numpy(padded(rgb, self.batch)))
        n = len(rgb)
        done(
            TileOutputs(
                logits[:n].cpu().numpy().astype(np.float64),
                nuclei[:n].cpu().numpy().astype(np.float64),
            )
        )

    def wait(self) -> None:
        """Return at once, because :meth:`submit` returns only when it is done."""

    def _outputs(self, tiles: Tensor) -> tuple[Tensor, Tensor]:
        # f32 is f32: a GPU would otherwise round inputs of convolutions to ten bits (TF32).
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            outputs: tuple[Tensor, Tensor] = self._network(tiles.to(self.device))
        return outputs

    def _batch_for_memory(self, tile_px: int) -> int:
        """Number of tiles, a power of two, that fits the GPU's free memory, by a batch that ran."""
        tiles = torch.zeros((SMALLEST_BATCH, tile_px, tile_px, 3), dtype=torch.uint8)
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        self._outputs(tiles)
        of_a_tile = (torch.cuda.max_memory_allocated() - before) / SMALLEST_BATCH
        torch.cuda.empty_cache()
        free, _ = torch.cuda.mem_get_info()
        return batch_for(_SHARE_OF_MEMORY * free / of_a_tile)


def batch_for(tiles: float) -> int:
    """The largest power of two of at most so many tiles, within the limits of a batch."""
    batch = SMALLEST_BATCH
    while 2 * batch <= min(tiles, LARGEST_BATCH):
        batch *= 2
    return batch


class _InBfloat16(nn.Module):
    """Runs a network in bfloat16 by autocast; what comes out is float32."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        with torch.autocast(image.device.type, dtype=torch.bfloat16):
            found: Tensor = self.network(image)
        return found.float()
