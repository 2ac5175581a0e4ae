"""The networks that a nuclei model may use, by the name in its config."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from torch import nn

from qupath_hccmil.errors import DataError, ModelError
from qupath_hccmil.model_store.model_folder import ModelFolder
from qupath_hccmil.nuclei.mobilenet_unet import MobileNetUNet
from qupath_hccmil.nuclei.unet import UNet

NETWORKS: Mapping[str, type[nn.Module]] = MappingProxyType(
    {"unet": UNet, "mobilenet_unet": MobileNetUNet}
)


def build_network(architecture: Mapping[str, Any]) -> nn.Module:
    """Make a network from the ``architecture`` of a model folder, with random weights.

    Parameters
    ----------
    architecture : mapping
        ``name``, one of `NETWORKS`, and the arguments of the network.

    Raises
    ------
    DataError
        There is no such network, or it does not accept the arguments.
    """
    arguments = dict(architecture)
    name = arguments.pop("name")
    if name not in NETWORKS:
        raise DataError(
            f"architecture.name is {name!r}, but a nuclei network must be one of "
            f"{', '.join(map(repr, NETWORKS))}"
        )
    try:
        return NETWORKS[name](**arguments)
    except TypeError as error:
        raise DataError(f"architecture {name!r}: {error}") from error


def complete(architecture: Mapping[str, Any]) -> dict[str, Any]:
    """Add the default arguments of a network to an architecture, as later versions may change them.

    Parameters
    ----------
    architecture : mapping
        An architecture that :func:`build_network` accepts.
    """
    parameters = inspect.signature(NETWORKS[architecture["name"]]).parameters
    defaults = {name: parameter.default for name, parameter in parameters.items()}
    content = {**defaults, **architecture}
    # As it is read back from JSON, so that two architectures can be compared.
    return {k: list(v) if isinstance(v, tuple) else v for k, v in content.items()}


def load_nuclei_network(folder: ModelFolder) -> nn.Module:
    """Build the network of a nuclei model folder, in evaluation mode.

    Raises
    ------
    ModelError
        The architecture is unknown, or the weights do not fit it.
    """
    try:
        network = build_network(folder.config.architecture)
        network.load_state_dict(folder.weights())
    except DataError as error:
        raise ModelError(f"{folder.path}: {error}") from error
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise ModelError(f"{folder.path}: the weights do not fit the network ({reason})") from error
    return network.eval()
