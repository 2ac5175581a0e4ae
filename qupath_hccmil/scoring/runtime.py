"""Where the networks run: OpenVINO in fp32 on a CPU, torch elsewhere."""

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

# Larger batches gain nothing on a CPU and cost memory (DESIGN §6: keep to 8-16).
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
    """Networks ready to run.

    Every call runs a full batch, the last one padded, so that a tile's bits do not depend on
    how many others there are.
    """

    name: str
    device: str
    batch: int

    def submit(self, rgb: NDArray[np.uint8], done: Done) -> None:
        """Score up to `batch` tiles, (n, h, w, 3) uint8 stain-normalised RGB.

        May return before they are scored, then `done` is called from another thread; `rgb` is
        the caller's again at once.
        """
        ...

    def wait(self) -> None:
        """Wait until all that was submitted is done."""
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
    """Prepare networks for the best runtime of this machine, or the one that is asked for.

    Parameters
    ----------
    network : nn.Module
        (n, tile_px, tile_px, 3) uint8 to (logits, nuclei fraction), each (n,).
    tile_px : int
        Side of a tile, px.
    runtime, device : str
        ``auto`` takes a GPU with torch where there is one, else OpenVINO on the CPU.
    batch : int
        Tiles in a batch.
    threads : int, optional
        Threads that the networks may use on a CPU; default: as many as it has.

    Raises
    ------
    ModelError
        The device or the combination is not available here.
    """
    where = _resolve_device(device, runtime)
    if runtime == "openvino" and where != "cpu":
        raise ModelError(
            f"runtime openvino runs on the CPU only, not on {where}; use --runtime torch"
        )
    network = network.eval()
    if runtime == "openvino" or (runtime == "auto" and where == "cpu"):
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
    return "float32" if _resolve_device(device, runtime) == "cpu" else "float16"


def _resolve_device(device: DeviceName, runtime: RuntimeName) -> str:
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


def _padded(rgb: NDArray[np.uint8], batch: int) -> NDArray[np.uint8]:
    if len(rgb) > batch:
        raise ValueError(f"{len(rgb)} tiles in a batch of {batch}")
    if len(rgb) == batch:
        return np.ascontiguousarray(rgb)
    padded = np.zeros((batch, *rgb.shape[1:]), np.uint8)
    padded[: len(rgb)] = rgb
    return padded


class _OpenVino:
    """fp32 on the CPU: about twice torch's speed there (DESIGN §6)."""

    name = "openvino"
    device = "cpu"

    def __init__(
        self, network: nn.Module, tile_px: int, batch: int, threads: int | None = None
    ) -> None:
        openvino = import_openvino()
        self.batch = batch
        graph = openvino_graph(network, (batch, tile_px, tile_px, 3))
        # The default may drop to bf16 where the CPU has it; scores must not depend on that.
        # Streams share nothing, so a reader that takes a core holds up one of them only.
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
        self._queue.start_async([_padded(rgb, self.batch)], (len(rgb), done))

    def wait(self) -> None:
        self._queue.wait_all()


def _finish(request: Any, about: tuple[int, Done]) -> None:
    n, done = about
    logits, nuclei = (request.get_output_tensor(i).data[:n].astype(np.float64) for i in (0, 1))
    done(TileOutputs(logits, nuclei))


class _Torch:
    """Eager torch; autocast on devices that gain by it."""

    name = "torch"

    def __init__(self, network: nn.Module, device: str, batch: int) -> None:
        self.batch = batch
        self.device = device
        self._network = network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        # bf16 is 20 times slower on a CPU without it (DESIGN §6).
        self._autocast = device != "cpu"

    def submit(self, rgb: NDArray[np.uint8], done: Done) -> None:
        tiles = torch.from_numpy(_padded(rgb, self.batch)).to(self.device)
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
        """Nothing is under way: :meth:`submit` returns when it is done."""
