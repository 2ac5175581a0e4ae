"""Finds bags that were prepared before, or prepares them from the user's slides or images."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from qupath_hccmil.errors import DataError, HccMilError, WriteError
from qupath_hccmil.method.published_numbers import TILES_PER_PATIENT
from qupath_hccmil.mil.bags import Bag, HeatMap, StoredBag, write_bag
from qupath_hccmil.model_store.model_config import ModelConfig
from qupath_hccmil.model_store.model_folder import ModelFolder
from qupath_hccmil.nuclei.architectures import load_nuclei_network
from qupath_hccmil.nuclei.dice_evaluation import torch_predictor
from qupath_hccmil.qupath.open_project import EngineChoice
from qupath_hccmil.qupath.selection import TUMOUR_CLASSES
from qupath_hccmil.slide_sources.left_out import LeftOut
from qupath_hccmil.slide_sources.outlined_slides import (
    OutlinedSlides,
    find_slides,
    is_project,
    refuse_images,
)
from qupath_hccmil.slides.resolution import check_mpp
from qupath_hccmil.slides.slide_files import slide_files
from qupath_hccmil.stain.reference import default_reference
from qupath_hccmil.stain.vahadane import StainFit
from qupath_hccmil.training.bag_folder import BagFolder, is_prepared, prepared_bags
from qupath_hccmil.training.clinical_table import Clinical
from qupath_hccmil.training.image_folders import field_batches, holds_images, patient_images
from qupath_hccmil.training.patient_slides import NO_SLIDE, slides_by_patient
from qupath_hccmil.training.random_tiles import TileSettings, patient_tiles

Kind = Literal["prepared bags", "QuPath project", "folder of slides", "folders of images"]
Prepared = Callable[[str, int, int], None]
"""Called with a patient whose bag is ready, its number from 1, and the number of patients."""
NO_BAG, NOT_PREPARED = "no bag", "no tiles"
_CPU = torch.device("cpu")

Batches = Callable[[], Iterator[NDArray[np.uint8]]]


@dataclass(frozen=True)
class Tiling:
    """How tiles are taken from slides or images.

    Attributes
    ----------
    mpp : float or None
        µm/px of images; for slides, overrides the values of QuPath and of the file.
    per_patient : int or None
        Largest number of random tiles per patient; None for all.
    seed : int
        Seed of the random choice.
    annotation_classes : tuple of str
        Classes of tumour outlines.
    engine : {"auto", "paquo", "native"}
        Engine that opens a QuPath project.
    images : tuple of str
        Names or glob patterns of images in a QuPath project; empty for all.
    slides_dir : Path or None
        Folder in which to look, by file name, for slides that have moved.
    patient_key : str or None
        Metadata key of a QuPath project that names the patient.
    """

    mpp: float | None = None
    per_patient: int | None = TILES_PER_PATIENT
    seed: int = 0
    annotation_classes: tuple[str, ...] = TUMOUR_CLASSES
    engine: EngineChoice = "auto"
    images: tuple[str, ...] = ()
    slides_dir: Path | None = None
    patient_key: str | None = None


@dataclass(frozen=True)
class FoundBags:
    """Bags by patient, the patients and slides that could not be used, and lines for the user."""

    kind: Kind
    bags: dict[str, Bag]
    left_out: list[LeftOut] = field(default_factory=list)
    said: list[str] = field(default_factory=list)


def find_bags(
    source: Path,
    out: Path,
    clinical: Clinical,
    wanted: Collection[str],
    tiling: Tiling,
    nuclei: ModelFolder,
    config: ModelConfig,
    *,
    device: torch.device = _CPU,
    progress: Prepared | None = None,
) -> FoundBags:
    """Read or prepare the bags of patients.

    Parameters
    ----------
    source : Path
        Prepared bags (``*.npy``), a QuPath project, a folder of slides, or a folder with one
        subfolder of images per patient.
    out : Path
        Folder for bags that are prepared now; matching bags in it are reused.
    clinical : Clinical
        Says which slides belong to which patient.
    wanted : collection of str
        Patients to prepare.
    tiling : Tiling
    nuclei : ModelFolder
        Model for the heat maps.
    config : ModelConfig
        Config of the risk model, with the nuclei model and the stain reference that it needs.
    device : torch.device
        Device on which heat maps are computed.
    progress : callable, optional

    Raises
    ------
    DataError
        No patient can be used, bags were prepared in another way, or patients and slides are not as
        :func:`slides_by_patient` needs them.
    """
    needed = config.nuclei_model
    if needed.sha256 != nuclei.reference.sha256:
        raise DataError(
            f"{nuclei.path}: {config.name} was trained with another nuclei model, {needed.name} "
            f"({needed.sha256[:12]}…); give that one with --nuclei"
        )
    kind = kind_of(source)
    if kind != "QuPath project":
        refuse_images(source, tiling.images)
    if kind == "prepared bags":
        bags = _of_patients(prepared_bags(source, config), clinical)
        absent = [LeftOut("patient", p, NO_BAG) for p in sorted(set(wanted) - bags.keys())]
        return FoundBags(kind, bags, absent)
    preparation = _Preparation(out, tiling, nuclei, config, kind, device)
    if kind == "folders of images":
        return preparation.of_images(source, clinical, wanted, progress)
    slides = find_slides(
        source,
        tiling.annotation_classes,
        engine=tiling.engine,
        images=tiling.images,
        slides_dir=tiling.slides_dir,
        patient_key=tiling.patient_key,
    )
    return preparation.of_slides(slides, clinical, wanted, progress)


def _of_patients(stored: Mapping[str, StoredBag], clinical: Clinical) -> dict[str, Bag]:
    """Name bags as the table names their patients, and refuse two bags of one."""
    patient_of = clinical.meant_by((name, str(bag.path)) for name, bag in stored.items())
    bags: dict[str, Bag] = {}
    paths: dict[str, Path] = {}
    for name, bag in stored.items():
        patient = patient_of.get(name, name)
        if patient in bags:
            raise DataError(
                f"{bag.path}: is a bag of patient {patient!r}, and so is {paths[patient].name}; "
                "keep one"
            )
        bags[patient], paths[patient] = StoredBag(bag.path, patient), bag.path
    return bags


def kind_of(source: Path) -> Kind:
    """Find out what kind of source this is.

    Raises
    ------
    DataError
        It is a file that is not a QuPath project.
    """
    if is_project(source):
        return "QuPath project"
    if not source.is_dir():
        raise DataError(f"{source}: is neither a QuPath project nor a folder of slides or images")
    if is_prepared(source):
        return "prepared bags"
    slides = slide_files(source)
    # The image folder of a patient may also contain the slide that the images were cut from.
    of_slides = any(path.parent == source for path in slides) or not holds_images(source)
    return "folder of slides" if slides and of_slides else "folders of images"


class _Preparation:
    """Prepares the bags of one source in a folder."""

    def __init__(
        self,
        out: Path,
        tiling: Tiling,
        nuclei: ModelFolder,
        config: ModelConfig,
        kind: Kind,
        device: torch.device,
    ) -> None:
        stored = config.stain_reference
        reference = default_reference() if stored is None else StainFit.from_dict(stored)
        self._tiling, self._out, self._kind = tiling, out, kind
        self._settings = TileSettings(
            tiling.per_patient, tiling.seed, tiling.mpp, reference, geometry=config.geometry
        )
        self._nuclei, self._device = nuclei, device
        self._heat_map: HeatMap | None = None
        self._made = {
            "source": kind,
            "nuclei_sha256": nuclei.reference.sha256,
            "nuclei_model": nuclei.reference.name,
            "tile_um": config.geometry.tile_um,
            "tile_px": config.geometry.tile_px,
            "resampler": config.resampler,
            "stain_reference": reference.to_dict(),
            "tiles_per_patient": tiling.per_patient,
            "seed": tiling.seed,
            "mpp": tiling.mpp,
            "min_inside": self._settings.min_inside,
            "tissue_rule": asdict(self._settings.tissue_rule),
            "annotation_classes": tiling.annotation_classes,
        }

    def of_slides(
        self,
        source: OutlinedSlides,
        clinical: Clinical,
        wanted: Collection[str],
        progress: Prepared | None,
    ) -> FoundBags:
        """Prepare bags from whole slides."""
        unusable = [one.name for one in source.left_out]
        found = slides_by_patient(source.slides, clinical, wanted, unusable)
        slides, left_out = found.slides, [*source.left_out, *found.left_out]
        sources = {p: [slide.identity for slide in of] for p, of in slides.items()}

        def batches(patient: str) -> Iterator[NDArray[np.uint8]]:
            return patient_tiles(slides[patient], self._settings, left_out)

        return replace(self._prepared(sources, batches, left_out, progress), said=found.said)

    def of_images(
        self,
        folder: Path,
        clinical: Clinical,
        wanted: Collection[str],
        progress: Prepared | None,
    ) -> FoundBags:
        """Prepare bags from fields of view."""
        of_folder = patient_images(folder)
        patient_of = clinical.meant_by((name, str(folder / name)) for name in of_folder)
        images: dict[str, list[Path]] = {}
        for name, patient in patient_of.items():
            if patient in wanted:
                images.setdefault(patient, []).extend(of_folder[name])
        mpp = self._tiling.mpp
        if mpp is None:
            raise DataError(
                f"{folder}: the pixel size of the images is needed; give --mpp, in µm/px"
            )
        check_mpp(mpp, str(folder))
        left_out = [LeftOut("patient", p, NO_SLIDE) for p in sorted(set(wanted) - images.keys())]
        sources = {
            p: [{"name": path.name, "bytes": path.stat().st_size} for path in of]
            for p, of in images.items()
        }

        def batches(patient: str) -> Iterator[NDArray[np.uint8]]:
            return field_batches(images[patient], mpp, self._settings)

        return self._prepared(sources, batches, left_out, progress)

    def _prepared(
        self,
        sources: Mapping[str, Sequence[Any]],
        batches: Callable[[str], Iterator[NDArray[np.uint8]]],
        left_out: list[LeftOut],
        progress: Prepared | None,
    ) -> FoundBags:
        folder = BagFolder(self._out, self._made)
        bags: dict[str, Bag] = {}
        for number, patient in enumerate(sorted(sources), start=1):
            before = len(left_out)

            def noted(patient: str = patient, before: int = before) -> Iterator[NDArray[np.uint8]]:
                yield from batches(patient)
                # A run that finds the bag ready does not open its slides, but says this again.
                folder.note_left_out(patient, [asdict(one) for one in left_out[before:]])

            def prepare(
                path: Path, tiles: Callable[[], Iterator[NDArray[np.uint8]]] = noted
            ) -> StoredBag:
                side = self._settings.geometry.tile_px
                return write_bag(path, tiles(), None, side, self._heat)

            try:
                bag = folder.bag(patient, sources[patient], prepare)
                left_out[before:] = [LeftOut(**one) for one in folder.left_out(patient)]
                bags[patient] = bag
            except WriteError:
                # A full disk is not a reason to leave a patient out.
                raise
            except HccMilError as error:
                left_out.append(LeftOut("patient", patient, NOT_PREPARED, str(error)))
            if progress:
                progress(patient, number, len(sources))
        if not bags:
            first = f" ({left_out[0]})" if left_out else ""
            raise DataError(f"{self._out}: there is no patient to make a bag for{first}")
        return FoundBags(self._kind, bags, left_out)

    @property
    def _heat(self) -> HeatMap:
        """Load the nuclei network, only when a bag is made."""
        if self._heat_map is None:
            network = load_nuclei_network(self._nuclei)
            self._heat_map = torch_predictor(network.to(self._device))
        return self._heat_map
