"""The network of a nuclei model folder."""

from __future__ import annotations

from qupath_hccmil.errors import ModelError
from qupath_hccmil.model_folder import ModelFolder
from qupath_hccmil.nuclei.unet import UNet


def load_nuclei_network(folder: ModelFolder) -> UNet:
    """Build the network of a nuclei model folder, in evaluation mode.

    Raises
    ------
    ModelError
        The architecture isn't a U-Net, or the weights don't fit it.
    """
    arguments = dict(folder.config.architecture)
    name = arguments.pop("name")
    if name != "unet":
        raise ModelError(
            f"{folder.path}: architecture.name is {name!r}, where a nuclei network is 'unet'"
        )
    try:
        network = UNet(**arguments)
        network.load_state_dict(folder.weights())
    except (TypeError, RuntimeError) as error:
        reason = str(error).splitlines()[-1].strip()
        raise ModelError(f"{folder.path}: the weights don't fit the U-Net ({reason})") from error
    return network.eval()
