"""torchvision's MobileNetV2 and its weights, even if the builds of torch and torchvision differ.

pip on Linux installs a torchvision built for CUDA. Together with a CPU build of torch, which is
common, its extension cannot be loaded, and ``import torchvision`` fails with "operator
torchvision::nms does not exist", because two of its functions describe operators that were not
declared. Declaring them is enough: MobileNetV2 uses no compiled operator of torchvision.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from qupath_hccmil.errors import ModelError

_MISSING = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
# A Library withdraws its declarations when it is collected, so it must live as long as the module.
_declared: list[torch.library.Library] = []


def torchvision_models() -> ModuleType:
    """Return ``torchvision.models``, with torchvision's own operators if they can be loaded."""
    try:
        import torchvision.models
    except RuntimeError as error:
        if "torchvision::nms does not exist" not in str(error):
            raise
        # Modules that were only partly imported must be imported again.
        for name in [n for n in sys.modules if n.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "DEF")
        for schema in _MISSING:
            library.define(schema)
        _declared.append(library)
        import torchvision.models
    models: ModuleType = torchvision.models
    return models


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the state dict of a MobileNetV2 from a safetensors file.

    Raises
    ------
    ModelError
        The file cannot be read as safetensors.
    """
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: cannot be read as safetensors ({error})") from error
