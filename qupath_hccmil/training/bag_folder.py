"""A folder of prepared bags and of how they were made: made once, reused when the same.

``bags.json`` says what holds for all bags (models, geometry, stain, seed) and
``<patient>.npy.json`` what a bag was made from. A bag is there only when it is complete, so a
preparation that was killed goes on with the patient it was at.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from qupath_hccmil.atomic_files import atomic_file
from qupath_hccmil.errors import DataError
from qupath_hccmil.mil.bags import StoredBag, bag_file, bag_files, stored_bags
from qupath_hccmil.model_store.model_config import ModelConfig

RECORD = "bags.json"


class BagFolder:
    """Bags that are prepared here.

    Parameters
    ----------
    folder : Path
        Made if absent.
    made : mapping
        How all bags are made, JSON-able.

    Raises
    ------
    DataError
        The folder holds bags that were made in another way.
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
        """Give a patient's bag, prepared now unless it is there, whole and made of the same.

        Parameters
        ----------
        patient : str
        sources : JSON-able
            What it is made of.
        prepare : callable
            Writes the bag to a path, all of it or nothing.

        Raises
        ------
        DataError
            It can't be prepared.
        """
        path = self._folder / bag_file(patient)
        record = path.with_name(path.name + ".json")
        wanted = json.loads(json.dumps(sources))
        if path.exists() and record.exists() and _read(record) == wanted:
            # A damaged one is made anew: all that it is made of is here.
            with contextlib.suppress(DataError):
                return StoredBag(path)
        # The record is there before the bag, so that a bag is never of another record.
        path.unlink(missing_ok=True)
        _write(record, wanted)
        return prepare(path)


def is_prepared(folder: Path) -> bool:
    """Whether a folder holds prepared bags."""
    return folder.is_dir() and bool(bag_files(folder))


def prepared_bags(folder: Path, config: ModelConfig) -> dict[str, StoredBag]:
    """Bags that were prepared before, if they are what a risk model sees.

    Raises
    ------
    DataError
        They were made in another way than the model needs, or one is damaged.
    """
    path = folder / RECORD
    if path.exists() and config.risk is not None:
        made = _read(path)
        needed = {
            "nuclei_sha256": config.risk.nuclei_model.sha256,
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
    return dict(stored_bags(folder))


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
