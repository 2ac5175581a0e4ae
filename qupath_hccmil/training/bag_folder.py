"""A folder of prepared bags with records of how they were made, so that they can be reused.

``bags.json`` records what all bags share (models, geometry, stain, seed), ``<patient>.npy.json``
what a bag was made from, and ``<patient>.npy.left_out.json`` the slides that could not be used for
it. A bag exists only if it is complete, so a preparation that was killed continues with the patient
that it had reached.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from qupath_hccmil.atomic_files import atomic_file
from qupath_hccmil.errors import DataError
from qupath_hccmil.held_files import remove
from qupath_hccmil.mil.bags import StoredBag, bag_file, bag_files, stored_bags
from qupath_hccmil.model_store.model_config import ModelConfig
from qupath_hccmil.slide_sources.file_image import FileImage, refuse_images_of_two_patients

RECORD = "bags.json"


class BagFolder:
    """A folder in which bags are prepared.

    Parameters
    ----------
    folder : Path
        Created if it does not exist.
    made : mapping
        How all bags are made; must be valid JSON.

    Raises
    ------
    DataError
        The folder has bags that were made in another way.
    """

    def __init__(self, folder: Path, made: Mapping[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        record = folder / RECORD
        wanted = json.loads(json.dumps(made))
        if not record.exists():
            _write(record, wanted)
            return
        found = _read(record)
        differing = [key for key in sorted(wanted | found) if wanted.get(key) != found.get(key)]
        if differing:
            raise DataError(
                f"{folder}: its bags were made with another {', '.join(differing)}; "
                "use another --out, or remove the folder"
            )

    def bag(self, patient: str, sources: Any, prepare: Callable[[Path], StoredBag]) -> StoredBag:
        """Return the bag of a patient; prepare it unless a complete one from the same data exists.

        Parameters
        ----------
        patient : str
        sources : JSON-able
            What the bag is made from; must be valid JSON.
        prepare : callable
            Writes the bag to a path, completely or not at all.

        Raises
        ------
        DataError
            The bag cannot be prepared.
        """
        path = self._folder / bag_file(patient)
        record = path.with_name(path.name + ".json")
        wanted = json.loads(json.dumps(sources))
        if path.exists() and record.exists() and _read(record) == wanted:
            # A damaged bag is made again, because everything it is made from is available.
            with contextlib.suppress(DataError):
                return StoredBag(path)
        # The record is written before the bag, so that a bag never belongs to another record.
        for old in (path, self._left_out(patient)):
            remove(old, missing_ok=True)
        _write(record, wanted)
        return prepare(path)

    def note_left_out(self, patient: str, left_out: Sequence[Mapping[str, Any]]) -> None:
        """Note what could not be used for a bag, before it is complete.

        Parameters
        ----------
        patient : str
        left_out : sequence of mapping
            Must be valid JSON; nothing is written if there is none.
        """
        if left_out:
            _write(self._left_out(patient), list(left_out))

    def left_out(self, patient: str) -> list[dict[str, Any]]:
        """Return what :meth:`note_left_out` noted for the bag of a patient.

        Raises
        ------
        DataError
            The note is damaged.
        """
        path = self._left_out(patient)
        return list(_read(path)) if path.exists() else []

    def _left_out(self, patient: str) -> Path:
        return self._folder / f"{bag_file(patient)}.left_out.json"


def is_prepared(folder: Path) -> bool:
    """Whether a folder has prepared bags."""
    return folder.is_dir() and bool(bag_files(folder))


def prepared_bags(folder: Path, config: ModelConfig) -> dict[str, StoredBag]:
    """Return bags that were prepared before, if they fit a risk model.

    Raises
    ------
    DataError
        They were not made in the way that the model needs, one is damaged, or two are one file.
    """
    path = folder / RECORD
    if path.exists() and config.risk is not None:
        made = _read(path)
        needed = {
            "nuclei_sha256": config.nuclei_model.sha256,
            "tile_um": config.geometry.tile_um,
            "tile_px": config.geometry.tile_px,
            "stain_reference": config.stain_reference or made.get("stain_reference"),
        }
        for key, value in needed.items():
            if made.get(key) != json.loads(json.dumps(value)):
                raise DataError(
                    f"{folder}: its bags were prepared with another {key} than {config.name} "
                    "needs; prepare them again"
                )
    bags = stored_bags(folder)
    refuse_images_of_two_patients(
        (FileImage.of(bag.path), bag.patient, bag.path.name) for bag in bags.values()
    )
    return bags


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: is damaged ({error}); remove {path.parent} to start again"
        ) from error


def _write(path: Path, content: Any) -> None:
    with atomic_file(path) as new:
        new.write_text(json.dumps(content, indent=1), encoding="utf-8")
