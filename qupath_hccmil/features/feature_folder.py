"""A folder of features: one folder for each encoder in it, and one file for each slide.

What is there and was made from the same slide in the same way is not made again. A file of another
slide, of another encoder or of another program is never replaced.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qupath_hccmil import __version__
from qupath_hccmil.atomic_files import atomic_file, file_name, is_temporary, make_folder, meant_stem
from qupath_hccmil.encoders.encoder import Encoder
from qupath_hccmil.errors import DataError, FeatureFileError
from qupath_hccmil.features.encode_slide import TileKind
from qupath_hccmil.features.feature_file import (
    DEPENDS_ON,
    depends_on,
    open_features,
    write_features,
)
from qupath_hccmil.features.feature_settings import FeatureSettings
from qupath_hccmil.features.layouts import OUR_VERSION
from qupath_hccmil.leftover_files import delete, unnamed
from qupath_hccmil.slide_sources.outlined_slides import OutlinedSlide
from qupath_hccmil.slides.open_slide import Slide
from qupath_hccmil.slides.slide_files import SUFFIXES
from qupath_hccmil.tiles.tile_plan import TilePlan

RECORD = "features.json"
_SUFFIX = ".h5"
_MAGNIFICATION = 10.0  # px of 1 µm, by convention


class EncoderFeatures:
    """The files of one encoder.

    Parameters
    ----------
    out : Path
        Folder of all encoders.
    encoder : Encoder
    settings : FeatureSettings
    kind : TileKind
        Tiles that the encoder gets.

    Raises
    ------
    DataError
        The encoder's folder has features of another encoder, or of another program.
    WriteError
        The folder cannot be written.
    """

    def __init__(
        self, out: Path, encoder: Encoder, settings: FeatureSettings, kind: TileKind
    ) -> None:
        self.encoder = encoder
        self.folder = out / encoder.name
        self._settings = settings
        self._kind = kind
        _check_folder(self.folder, encoder)
        make_folder(self.folder)
        delete(unnamed(self.folder, _is_ours), self.folder)
        with atomic_file(self.folder / RECORD) as new:
            text = json.dumps(_about(encoder), indent=2, ensure_ascii=False)
            new.write_text(text + "\n", encoding="utf-8")

    def path(self, stem: str) -> Path:
        """File of a slide."""
        return self.folder / f"{stem}{_SUFFIX}"

    def holds(self, slide: OutlinedSlide, stem: str) -> bool:
        """Whether the features of a slide are there, whole, and as they would be made now.

        Raises
        ------
        DataError
            The file is of another slide or of another program.
        """
        path = self.path(stem)
        if not path.exists():
            return False
        try:
            found = open_features(path)
        except FeatureFileError:
            # It is damaged, in a folder of ours: it is made again.
            return False
        known = depends_on(found)
        if found.layout != "qupath-hccmil" or known is None:
            raise DataError(
                f"{path}: was not written by this program, so it is left; use another --out"
            )
        wanted = self._depends_on(slide)
        other = [key for key in _SAME_SLIDE if known["slide"].get(key) != wanted["slide"][key]]
        if other:
            raise DataError(
                f"{path}: holds the features of another slide ({_told(known['slide'])}, not "
                f"{_told(wanted['slide'])}), so it is left; use another --out, or delete it"
            )
        return bool(known == wanted)

    def write(
        self,
        slide: OutlinedSlide,
        stem: str,
        pixels: Slide,
        plan: TilePlan,
        bounds: NDArray[np.float64],
        features: NDArray[np.float32],
        precision: str,
    ) -> None:
        """Write the features of a slide.

        Parameters
        ----------
        slide : OutlinedSlide
        stem : str
            Name of the file without its suffix.
        pixels : Slide
            The slide, open.
        plan : TilePlan
        bounds : (k, 4) float64
            The tiles, level-0 px.
        features : (k, d) float32
        precision : str
            Numbers that the encoder computed with.

        Raises
        ------
        DataError
            A feature is not a finite number; nothing is written.
        WriteError
            The system refuses.
        """
        wrong = int(np.count_nonzero(~np.isfinite(features).all(axis=1)))
        if wrong:
            raise DataError(
                f"the encoder {self.encoder.name} gave values that are not finite numbers for "
                f"{wrong} of {len(features)} tiles, so nothing is written; check its "
                f"weights, mean and std, or use --device cpu ({precision} was used)"
            )
        geometry, resolution = self.encoder.geometry, plan.resolution
        path = self.path(stem)
        side_x, side_y = geometry.tile_um / resolution.mpp_x, geometry.tile_um / resolution.mpp_y
        write_features(
            path,
            features,
            np.rint(bounds[:, :2]).astype(np.int64),
            of_file={
                OUR_VERSION: __version__,
                "slide": slide.name,
                "slide_file": slide.path.name,
                "patient": slide.patient or "",
                "encoder": self.encoder.name,
                "encoder_sha256": self.encoder.sha256,
                "encoder_licence": self.encoder.licence,
                "tile_level0_px": side_x,
                "tile_level0_px_y": side_y,
                "tile_px": geometry.tile_px,
                "tile_um": geometry.tile_um,
                "mpp": geometry.mpp,
                "level0_mpp": resolution.mpp,
                "stain": self._settings.stain,
                "outlines": slide.identity["outlines"],
                "precision": precision,
                DEPENDS_ON: json.dumps(self._depends_on(slide), sort_keys=True),
            },
            of_features={
                "name": stem,
                "savetodir": str(self.folder),
                "encoder": self.encoder.name,
            },
            of_coords={
                "patch_size": geometry.tile_px,
                "patch_size_level0": round(side_x),
                "level0_magnification": _number(_MAGNIFICATION / resolution.mpp),
                "target_magnification": _number(_MAGNIFICATION / geometry.mpp),
                "overlap": 0,
                "name": stem,
                "savetodir": str(self.folder),
                "level0_width": pixels.width,
                "level0_height": pixels.height,
            },
        )

    def _depends_on(self, slide: OutlinedSlide) -> Any:
        target = self._kind.stain_target
        facts = {
            "slide": slide.identity,
            "encoder": self.encoder.sha256,
            "settings": self._settings.facts,
            "tissue_rule": asdict(self._kind.tissue_rule),
            "stain_target": None if target is None else target.to_dict(),
            "version": __version__,
        }
        return json.loads(json.dumps(facts))


def file_stems(names: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Name of each slide's file: that of the slide without its suffix, as other programs do it.

    Where several slides would get the same name, it is their name with the suffix, or with the ID.

    Parameters
    ----------
    names : iterable of (str, str)
        ID and name of each slide.

    Returns
    -------
    dict of str to str
        By ID.
    """
    choices = {
        identity: (file_name(_stem(name)), file_name(name), file_name(f"{name}-{identity}"))
        for identity, name in names
    }
    taken = [Counter(each[place].lower() for each in choices.values()) for place in range(2)]
    return {
        identity: next(
            (each for each, count in zip(of, taken, strict=False) if count[each.lower()] == 1),
            of[-1],
        )
        for identity, of in choices.items()
    }


_SAME_SLIDE = ("name", "file", "bytes")


def _stem(name: str) -> str:
    path = PurePath(name)
    return path.stem if path.suffix.lower() in SUFFIXES else name


def _told(slide: Mapping[str, Any]) -> str:
    return f"{slide.get('name')}, {slide.get('bytes')} bytes"


def _about(encoder: Encoder) -> dict[str, Any]:
    return {
        "encoder": encoder.name,
        "encoder_sha256": encoder.sha256,
        "licence": encoder.licence,
        "tile_um": encoder.geometry.tile_um,
        "tile_px": encoder.geometry.tile_px,
    }


def _check_folder(folder: Path, encoder: Encoder) -> None:
    record = folder / RECORD
    # Looked at before the record, which another process may be about to write: then this one is
    # empty but for a temporary file.
    there = list(folder.iterdir()) if folder.is_dir() else []
    if not record.exists():
        if not all(is_temporary(each) for each in there):
            raise DataError(
                f"{folder}: has files that this program did not write; use another --out"
            )
        return
    try:
        found = json.loads(record.read_text(encoding="utf-8"))["encoder_sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{record}: is damaged ({error}); delete {folder} to start again"
        ) from error
    if found != encoder.sha256:
        raise DataError(
            f"{folder}: has features of another encoder that is named {encoder.name!r} too "
            f"({str(found)[:12]}…, not {encoder.sha256[:12]}…); use another --out, or another name"
        )


def _is_ours(path: Path) -> bool:
    """Whether an unnamed file was to hold features, or to be the record."""
    return path.suffix == _SUFFIX or meant_stem(path) == Path(RECORD).stem


def _number(value: float) -> int | float:
    """A whole number as such; TRIDENT writes magnifications as whole numbers."""
    return round(value) if abs(value - round(value)) < 1e-6 else value
