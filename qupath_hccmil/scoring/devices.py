"""Where networks can run.

torch, which takes seconds to import, is asked only where there may be a GPU.
"""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache
from pathlib import Path
from typing import Literal

from qupath_hccmil.errors import ModelError

RuntimeName = Literal["auto", "openvino", "torch"]
DeviceName = Literal["auto", "cpu", "cuda", "mps"]
Gpu = Literal["cuda", "mps"]

# The device file of AMD's driver, whose GPUs torch calls cuda too.
_AMD = Path("/dev/kfd")
_NVIDIA = "nvcuda.dll" if os.name == "nt" else "libcuda.so.1"


def resolve(runtime: RuntimeName, device: DeviceName) -> tuple[str, str]:
    """Choose the runtime and the device for what was asked.

    Returns
    -------
    runtime : str
        ``openvino`` or ``torch``. ``auto`` is torch on a GPU, otherwise OpenVINO.
    device : str
        ``cpu``, ``cuda`` or ``mps``. ``auto`` is a GPU if there is one.

    Raises
    ------
    ModelError
        The device or the combination is not available here.
    """
    where = _device(device, runtime)
    if runtime == "openvino" and where != "cpu":
        raise ModelError(
            f"runtime openvino runs on the CPU only, not on {where}; use --runtime torch"
        )
    if runtime == "auto":
        return ("openvino" if where == "cpu" else "torch"), where
    return runtime, where


def _device(device: DeviceName, runtime: RuntimeName) -> str:
    if device == "cpu" or (device == "auto" and runtime == "openvino"):
        return "cpu"
    usable = gpus()
    if device == "auto":
        return next(iter(usable), "cpu")
    if device not in usable:
        raise ModelError(f"device {device} is not available here; use --device cpu or auto")
    return device


@cache
def gpus() -> tuple[Gpu, ...]:
    """GPUs that torch can use here, the preferred one first."""
    if not may_have_gpu():
        return ()
    import torch

    found: list[Gpu] = []
    if torch.cuda.is_available():
        found.append("cuda")
    if torch.backends.mps.is_available():
        found.append("mps")
    return tuple(found)


def may_have_gpu() -> bool:
    """Whether this system has a driver of a GPU; without one torch finds none."""
    if sys.platform == "darwin" or _AMD.exists():
        return True
    try:
        ctypes.CDLL(_NVIDIA)
    except OSError:
        return False
    return True
