"""The device that a training runs on, and its precision."""

from __future__ import annotations

from typing import Any, Literal

import torch

from qupath_hccmil.errors import ModelError

DeviceName = Literal["auto", "cpu", "cuda", "mps"]


def training_device(name: DeviceName = "auto") -> torch.device:
    """Choose a device; ``auto`` takes a GPU if there is one.

    Raises
    ------
    ModelError
        The requested device is not available.
    """
    usable = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next((gpu for gpu, there in usable.items() if there), "cpu"))
    if not usable.get(name, name == "cpu"):
        raise ModelError(f"device {name} is not available here; use --device cpu or auto")
    return torch.device(name)


class MixedPrecision:
    """Half precision on CUDA, where it is faster; on other devices nothing changes.

    Uses bfloat16 if the GPU supports it, otherwise float16 with scaled gradients, which would
    vanish without scaling (Micikevicius et al. 2018). On a CPU without hardware support, bfloat16
    is 20 times slower.

    Parameters
    ----------
    device : torch.device
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._on = device.type == "cuda"
        bfloat16 = self._on and torch.cuda.is_bf16_supported(including_emulation=False)
        self._dtype = torch.bfloat16 if bfloat16 else torch.float16
        self.scaler = torch.amp.GradScaler(device.type, enabled=self._on and not bfloat16)

    def autocast(self) -> torch.autocast:
        """Context manager for a forward pass."""
        kind = self._device.type if self._on else "cpu"
        return torch.autocast(kind, dtype=self._dtype if self._on else None, enabled=self._on)

    def state(self) -> dict[str, Any]:
        """State for a checkpoint, valid as JSON; empty without scaling."""
        return dict(self.scaler.state_dict())

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state`."""
        if self.scaler.is_enabled() and state:
            self.scaler.load_state_dict(state)
