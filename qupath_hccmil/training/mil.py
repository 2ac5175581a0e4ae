"""The commands ``train mil`` and ``evaluate mil`` as functions."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from qupath_hccmil.errors import DataError
from qupath_hccmil.mil.bags import Bag
from qupath_hccmil.mil.cohort import Cohort, read_cohort
from qupath_hccmil.mil.evaluate import RiskScores, evaluate, torch_tile_predictor
from qupath_hccmil.mil.network import TileNetwork, imagenet_network, load_tile_network
from qupath_hccmil.mil.train import MilSettings, Progress, split_patients, train
from qupath_hccmil.model_folder import (
    DataUse,
    ModelConfig,
    ModelFolder,
    RiskConfig,
    default_model_dir,
    load_model_folder,
    save_model_folder,
)
from qupath_hccmil.nuclei.evaluate import torch_predictor
from qupath_hccmil.nuclei.model import load_nuclei_network
from qupath_hccmil.stain.reference import default_reference
from qupath_hccmil.stain.vahadane import StainFit
from qupath_hccmil.training.fields import is_prepared, prepare_bags, prepared_bags

MODEL, BAGS = "model", "bags"
_CARD = """# {name}

Risk from bags of tiles, trained by `qupath-hccmil train mil` on {bags}: {cohort}.
For research use only.

AUC on {count} held-out patients: {auc:.3f} (the epoch was chosen on them).
"""


@dataclass(frozen=True)
class MilModel:
    """A trained risk model.

    Attributes
    ----------
    folder : ModelFolder
    cohort : Cohort
        Who was trained on, and who not and why.
    held_out : RiskScores
        On the patients that chose the epoch.
    notes : list of str
        Patients that couldn't be used.
    """

    folder: ModelFolder
    cohort: Cohort
    held_out: RiskScores
    notes: list[str]


def train_mil(
    bags: Path,
    labels: Path,
    out: Path,
    *,
    mpp: float | None = None,
    time_unit: str = "years",
    start: Path | None = None,
    nuclei: Path | None = None,
    share: float = 0.2,
    settings: MilSettings | None = None,
    name: str = "hcc-risk",
    progress: Progress | None = None,
) -> MilModel:
    """Train a risk model from images of patients and their outcomes.

    Parameters
    ----------
    bags : Path
        One subfolder of images a patient, or bags that were prepared before (``*.npy``).
    labels : Path
        CSV: ``patient, label`` or ``patient, time, event``; see `read_cohort`.
    out : Path
        Gets the prepared bags, the checkpoint, ``log.csv``, ``curve.png`` and the model folder
        ``model``.
    mpp : float, optional
        µm/px of the images; needed unless they are prepared.
    time_unit : {"years", "months", "days"}
    start : Path, optional
        Where the tile network starts from: a safetensors file with torchvision's MobileNetV2, or
        a mil model folder. Default: the model that ships.
    nuclei : Path, optional
        Nuclei model folder; default: the one that ships.
    share : float
        Of patients that choose the epoch.
    settings : MilSettings, optional
    name : str
    progress : callable, optional

    Returns
    -------
    MilModel

    Raises
    ------
    DataError, ModelError
    """
    settings = settings or MilSettings()
    cohort = read_cohort(labels, time_unit)
    nuclei_folder = load_model_folder(nuclei or default_model_dir("nuclei"), "nuclei")
    network = _starting_network(start or default_model_dir("mil"), settings.seed)
    config = ModelConfig(
        kind="mil",
        name=name,
        version="1",
        architecture={"name": "mobilenet_v2"},
        stain_reference=default_reference().to_dict(),
        data=(DataUse(bags.name, "the user's own", bags.name, "slides and outcomes"),),
        risk=RiskConfig(
            settings.p,
            settings.threshold,
            "1 = good outcome; the risk rises with recurrence",
            False,
            nuclei_folder.reference,
        ),
    )
    found, notes = _bags(bags, out / BAGS, mpp, nuclei_folder, config)
    used = {patient: label for patient, label in cohort.labels.items() if patient in found}
    notes += [f"{patient}: no images" for patient in sorted(cohort.labels.keys() - used)]
    if not used:
        raise DataError(f"{labels}: none of its patients is in {bags}")
    training, validation = split_patients(used, share, settings.seed)
    result = train(
        network,
        [found[patient] for patient in training],
        [found[patient] for patient in validation],
        used,
        out,
        settings,
        progress,
    )
    scores = _evaluate(found, {p: used[p] for p in validation}, result.network, config)
    config = _trained(config, settings, result.epoch, scores)
    card = _CARD.format(
        name=name,
        bags=bags.name,
        cohort=cohort.summary(),
        count=len(validation),
        auc=scores.auc.value,
    )
    folder = save_model_folder(out / MODEL, config, result.network.state_dict(), card)
    return MilModel(folder, cohort, scores, notes)


def evaluate_mil(
    bags: Path,
    labels: Path,
    *,
    mpp: float | None = None,
    time_unit: str = "years",
    model: Path | None = None,
    nuclei: Path | None = None,
) -> tuple[RiskScores, Cohort, list[str]]:
    """Compare a risk model with the outcomes of patients it wasn't trained on.

    Parameters
    ----------
    bags, labels, mpp, time_unit
        As of :func:`train_mil`.
    model : Path, optional
        Default: the model that ships.
    nuclei : Path, optional
        Default: the model that ships; it must be the one that `model` was trained with.

    Returns
    -------
    scores : RiskScores
    cohort : Cohort
    notes : list of str
        Patients that couldn't be used.

    Raises
    ------
    DataError, ModelError
    """
    folder = load_model_folder(model or default_model_dir("mil"), "mil")
    cohort = read_cohort(labels, time_unit)
    nuclei_folder = load_model_folder(nuclei or default_model_dir("nuclei"), "nuclei")
    network = load_tile_network(folder)
    with tempfile.TemporaryDirectory() as beside:
        found, notes = _bags(bags, Path(beside), mpp, nuclei_folder, folder.config)
        return _evaluate(found, cohort.labels, network, folder.config), cohort, notes


def _bags(
    folder: Path, out: Path, mpp: float | None, nuclei: ModelFolder, config: ModelConfig
) -> tuple[Mapping[str, Bag], list[str]]:
    needed = config.risk.nuclei_model if config.risk else nuclei.reference
    if needed.sha256 != nuclei.reference.sha256:
        raise DataError(
            f"{nuclei.path}: {config.name} was trained with another nuclei model, {needed.name} "
            f"({needed.sha256[:12]}…); give that one"
        )
    if is_prepared(folder):
        return prepared_bags(folder, config), []
    if mpp is None:
        raise DataError(f"{folder}: the images' resolution is needed; give --mpp, in µm/px")
    stored = config.stain_reference
    reference = default_reference() if stored is None else StainFit.from_dict(stored)
    heat_map = torch_predictor(load_nuclei_network(nuclei))
    bags, notes = prepare_bags(
        folder, out, mpp, heat_map, nuclei.reference, reference, config.geometry
    )
    return dict(bags), notes


def _evaluate(
    bags: Mapping[str, Bag], labels: Mapping[str, int], network: TileNetwork, config: ModelConfig
) -> RiskScores:
    risk = config.risk
    assert risk is not None
    predict = torch_tile_predictor(network)
    return evaluate(bags.values(), labels, predict, risk.p, risk.threshold)


def _starting_network(start: Path, seed: int) -> TileNetwork:
    if start.is_dir():
        return load_tile_network(load_model_folder(start, "mil"))
    return imagenet_network(start, seed)


def _trained(
    config: ModelConfig, settings: MilSettings, epoch: int, scores: RiskScores
) -> ModelConfig:
    figures = scores.as_dict()
    figures.pop("bags")
    return replace(
        config, training={**asdict(settings), "best_epoch": epoch}, metrics={"held_out": figures}
    )
