"""Runs the networks: with OpenVINO on a CPU, with torch on other devices."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from qupath_hccmil.scoring.devices import DeviceName, RuntimeName, resolve
from qupath_hccmil.scoring.networks import Networks
from qupath_hccmil.scoring.precision import NetworkPrecision, PrecisionName, choose_precision
from qupath_hccmil.tiles.read_ahead import READERS

_MOST_READERS = 8


@dataclass(frozen=True)
class RuntimeOptions:
    """How networks are run, as it was asked for.

    Attributes
    ----------
    runtime, device : str
        ``auto`` uses torch on a GPU if there is one, otherwise OpenVINO on the CPU.
    precision : {"auto", "f32", "bf16"}
        Of the nuclei network; see :func:`~qupath_hccmil.scoring.precision.choose_precision`.
    threads : int or None
        Number of threads that the networks may use on a CPU; None: as many as it has.
    """

    runtime: RuntimeName = "auto"
    device: DeviceName = "auto"
    precision: PrecisionName = "auto"
    threads: int | None = None

    def nuclei_precision(self) -> NetworkPrecision:
        """Precision that the nuclei network would run in; the networks need not be loaded for it.

        Raises
        ------
        ModelError
            The device, the runtime or the precision is not available here.
        """
        return choose_precision(self.precision, *resolve(self.runtime, self.device)).nuclei


@dataclass(frozen=True)
class TileOutputs:
    """Outputs of one batch.

    Attributes
    ----------
    logits : (n,) float64
    nuclei_fraction : (n,) float64, in [0, 1]
    """

    logits: NDArray[np.float64]
    nuclei_fraction: NDArray[np.float64]


Done = Callable[[TileOutputs], None]


class Runtime(Protocol):
    """Networks that are ready to run.

    Every call runs a full batch, and the last one is padded, so that the result for a tile does
    not depend on the number of tiles.

    Attributes
    ----------
    name, device : str
    precision : {"f32", "bf16"}
        Of the nuclei network.
    batch : int
        Number of tiles in a batch.
    readers : int
        Number of threads that should read tiles, so that the networks need not wait for them.
    """

    name: str
    device: str
    precision: NetworkPrecision
    batch: int
    readers: int

    def submit(self, rgb: NDArray[np.uint8], done: Done) -> None:
        """Score up to `batch` tiles given as (n, h, w, 3) uint8 stain-normalised RGB.

        May return before the tiles are scored; `done` is then called from another thread. The
        caller may change `rgb` as soon as this returns.
        """
        ...

    def wait(self) -> None:
        """Wait until everything that was submitted is done."""
        ...


def load_runtime(networks: Networks, options: RuntimeOptions) -> Runtime:
    """Prepare networks for the best runtime on this machine, or for the requested one.

    Parameters
    ----------
    networks : Networks
    options : RuntimeOptions

    Raises
    ------
    ModelError
        The weights do not fit, or the device, the runtime or the precision is not available here.
    """
    runtime, device = resolve(options.runtime, options.device)
    precision = choose_precision(options.precision, runtime, device).nuclei
    # What a runtime needs is imported for it alone.
    if runtime == "openvino":
        from qupath_hccmil.scoring.openvino_runtime import OpenVinoRuntime

        return OpenVinoRuntime(networks, precision, options.threads)
    from qupath_hccmil.scoring.torch_runtime import TorchRuntime

    return TorchRuntime(networks.build(), networks.tile_px, device, precision, options.threads)


def readers_for(device: str) -> int:
    """Number of threads that should read tiles for a device."""
    if device == "cpu":
        return READERS
    # A GPU does in a second what these threads read in several.
    return max(READERS, min(_MOST_READERS, os.cpu_count() or 1))


def padded(rgb: NDArray[np.uint8], batch: int) -> NDArray[np.uint8]:
    """A copy-free full batch, or the tiles followed by black ones.

    Raises
    ------
    ValueError
        There are more tiles than a batch holds.
    """
    if len(rgb) > batch:
        raise ValueError(f"{len(rgb)} tiles in a batch of {batch}")
    if len(rgb) == batch:
        return np.ascontiguousarray(rgb)
    full = np.zeros((batch, *rgb.shape[1:]), np.uint8)
    full[: len(rgb)] = rgb
    return full
