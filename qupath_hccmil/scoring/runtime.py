"""Runs the networks: with OpenVINO in fp32 on a CPU, with torch on other devices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from qupath_hccmil.errors import ModelError
from qupath_hccmil.scoring.openvino_graph import openvino_graph
from qupath_hccmil.scoring.openvino_import import import_openvino

RuntimeName = Literal["auto", "openvino", "torch"]
DeviceName = Literal["auto", "cpu", "cuda", "mps"]

# Larger batches are not faster on a CPU and need more memory (DESIGN §6: 8 to 16).
BATCH = 8


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
    """

    name: str
    device: str
    batch: int

    def submit(self, rgb: NDArray[np.uint8], done: Done) -> None:
        """Score up to `batch` tiles given as (n, h, w, 3) uint8 stain-normalised RGB.

        May return before the tiles are scored; `done` is then called from another thread. The
        caller may change `rgb` as soon as this returns.
        """
        ...

    def wait(self) -> None:
        """Wait until everything that was submitted is done."""
        ...


def load_runtime(
    network: nn.Module,
    tile_px: int,
    *,
    runtime: RuntimeName = "auto",
    device: DeviceName = "auto",
    batch: int = BATCH,
    threads: int | None = None,
) -> Runtime:
    """Prepare networks for the best runtime on this machine, or for the requested one.

    Parameters
    ----------
    network : nn.Module
        Maps (n, tile_px, tile_px, 3) uint8 to (logits, nuclei fraction), each (n,).
    tile_px : int
        Side of a tile, px.
    runtime, device : str
        ``auto`` uses torch on a GPU if there is one, otherwise OpenVINO on the CPU.
    batch : int
        Number of tiles in a batch.
    threads : int, optional
        Number of threads that the networks may use on a CPU; default: as many as it has.

    Raises
    ------
    ModelError
        The device or the combination is not available here.
    """
    where = resolve_device(device, runtime)
    network = network.eval()
    if is_openvino(runtime, where):
        return _OpenVino(network, tile_px, batch, threads)
    if threads is not None:
        torch.set_num_threads(threads)
    return _Torch(network, where, batch)


def precision(runtime: RuntimeName, device: DeviceName) -> str:
    """Numbers that the networks compute with: ``float32``, or ``float16`` on a GPU.

    Raises
    ------
    ModelError
        The device is not available here.
    """
    return "float32" if resolve_device(device, runtime) == "cpu" else "float16"


def resolve_device(device: DeviceName, runtime: RuntimeName) -> str:
    """Name of the device to use; it raises `ModelError` where it is not available."""
    usable = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if device == "auto":
        if runtime == "openvino":
            return "cpu"
        return next(name for name in ("cuda", "mps", "cpu") if usable[name])
    if not usable[device]:
        raise ModelError(f"device {device} is not available here; use --device cpu or auto")
    return device


def is_openvino(runtime: RuntimeName, device: str) -> bool:
    """Whether OpenVINO is to be used on a device; it raises `ModelError` where it cannot."""
    if runtime == "openvino" and device != "cpu":
        raise ModelError(
            f"runtime openvino runs on the CPU only, not on {device}; use --runtime torch"
        )
    return runtime == "openvino" or (runtime == "auto" and device == "cpu")


def padded(rgb: NDArray[np.uint8], batch: int) -> NDArray[np.uint8]:
    """Fill a batch with empty tiles."""
    if len(rgb) > batch:
        raise ValueError(f"{len(rgb)} tiles in a batch of {batch}")
    if len(rgb) == batch:
        return np.ascontiguousarray(rgb)
    full = np.zeros((batch, *rgb.shape[1:]), np.uint8)
    full[: len(rgb)] = rgb
    return full


class _OpenVino:
    """OpenVINO in fp32 on the CPU, about twice as fast as torch there (DESIGN §6)."""

    name = "openvino"
    device = "cpu"

    def __init__(
        self, network: nn.Module, tile_px: int, batch: int, threads: int | None = None
    ) -> None:
        openvino = import_openvino()
        self.batch = batch
        graph = openvino_graph(network, (batch, tile_px, tile_px, 3))
        # The default may use bf16 if the CPU supports it; scores must not depend on that.
        # Streams share nothing, so a reader that occupies a core delays only one of them.
        hints: dict[str, str | int] = {
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "THROUGHPUT",
        }
        if threads is not None:
            hints["INFERENCE_NUM_THREADS"] = threads
        compiled = openvino.Core().compile_model(graph, "CPU", hints)
        self._queue = openvino.AsyncInferQueue(compiled)
        self._queue.set_callback(_finish)

    def submit(self, rgb: NDArray[np.uint8], done: Done) -> None:
        self._queue.start_async([padded(rgb, self.batch)], (len(rgb), done))

    def wait(self) -> None:
        self._queue.wait_all()


def _finish(request: Any, about: tuple[int, Done]) -> None:
    n, done = about
    logits, nuclei = (request.get_output_tensor(i).data[:n].astype(np.float64) for i in (0, 1))
    done(TileOutputs(logits, nuclei))


class _Torch:
    """Eager torch, with autocast on devices that are faster with it."""

    name = "torch"

    def __init__(self, network: nn.Module, device: str, batch: int) -> None:
        self.batch = batch
        self.device = device
        self._network = network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        # bf16 is 20 times slower on a CPU without hardware support (DESIGN §6).
        self._autocast = device != "cpu"

    def submit(self, rgb: NDArray[np.uint8], done: Done) -> None:
        tiles = torch.from_numpy(padded(rgb, self.batch)).to(self.device)
        with (
            torch.inference_mode(),
            torch.autocast(self.device, dtype=torch.float16, enabled=self._autocast),
        ):
            logits, nuclei = self._network(tiles)
        n = len(rgb)
        done(
            TileOutputs(
                logits[:n].cpu().numpy().astype(np.float64),
                nuclei[:n].cpu().numpy().astype(np.float64),
            )
        )

    def wait(self) -> None:
        """Return at once, because :meth:`submit` returns only when it is done."""
