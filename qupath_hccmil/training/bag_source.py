"""Where the bags of a command come from: prepared before, or made now of what the user has."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from qupath_hccmil.errors import DataError
from qupath_hccmil.mil.bags import Bag
from qupath_hccmil.model_folder import ModelConfig, ModelFolder
from qupath_hccmil.nuclei.evaluate import torch_predictor
from qupath_hccmil.nuclei.model import load_nuclei_network
from qupath_hccmil.stain.reference import default_reference
from qupath_hccmil.stain.vahadane import StainFit
from qupath_hccmil.training.fields import is_prepared, prepare_bags, prepared_bags


@dataclass(frozen=True)
class Tiling:
    """How tiles are taken from what a user has.

    Attributes
    ----------
    mpp : float or None
        µm/px of images; over what QuPath and the file say of a slide.
    """

    mpp: float | None = None


@dataclass(frozen=True)
class FoundBags:
    """Bags by patient, and who couldn't be used.

    Attributes
    ----------
    bags : dict of str to Bag
    notes : list of str
        What was left out, with the reason.
    """

    bags: dict[str, Bag]
    notes: list[str] = field(default_factory=list)


def find_bags(
    source: Path, out: Path, tiling: Tiling, nuclei: ModelFolder, config: ModelConfig
) -> FoundBags:
    """Read or prepare bags.

    Parameters
    ----------
    source : Path
        Prepared bags (``*.npy``), or one subfolder of images a patient.
    out : Path
        Folder for bags that are prepared now.
    tiling : Tiling
    nuclei : ModelFolder
        Makes the heat maps.
    config : ModelConfig
        Of the risk model: it says which nuclei model and stain reference it needs.

    Raises
    ------
    DataError
        There is no patient, or bags were prepared in another way.
    """
    needed = config.risk.nuclei_model if config.risk else nuclei.reference
    if needed.sha256 != nuclei.reference.sha256:
        raise DataError(
            f"{nuclei.path}: {config.name} was trained with another nuclei model, {needed.name} "
            f"({needed.sha256[:12]}…); give that one"
        )
    if is_prepared(source):
        return FoundBags(dict(prepared_bags(source, config)))
    if tiling.mpp is None:
        raise DataError(f"{source}: the images' resolution is needed; give --mpp, in µm/px")
    stored = config.stain_reference
    reference = default_reference() if stored is None else StainFit.from_dict(stored)
    heat_map = torch_predictor(load_nuclei_network(nuclei))
    bags, notes = prepare_bags(
        source, out, tiling.mpp, heat_map, nuclei.reference, reference, config.geometry
    )
    return FoundBags(dict(bags), notes)
