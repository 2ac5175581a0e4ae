"""The settings of a scoring run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Annotated, Any, Literal

from pydantic import Field

from qupath_hccmil import __version__
from qupath_hccmil.qupath.data_types import Server
from qupath_hccmil.qupath.selection import TUMOUR_CLASSES
from qupath_hccmil.scoring.precision import PrecisionName
from qupath_hccmil.tiles.tile_plan import TileChoice

Stain = Literal["vahadane", "staintools"]
"""How stains are normalised; see :class:`ScoreSettings`."""


@dataclass(frozen=True)
class ScoreSettings(TileChoice):
    """Settings that affect scores; all of them are recorded with the results.

    Attributes
    ----------
    annotation_classes : tuple of str
        Classes of tumour outlines, case-insensitive; derived classes are included.
    stain : {"vahadane", "staintools"}
        ``vahadane`` fits a slide's stains once. ``staintools`` is that package's own Vahadane,
        which fits each tile anew and takes a second for it.
    precision : {"auto", "f32", "bf16"}
        Of the nuclei network; see :func:`~qupath_hccmil.scoring.precision.choose_precision`. With
        results, ``f32`` or ``bf16`` is recorded: what it ran in.
    mpp, min_inside, max_tiles, seed
        See :class:`~qupath_hccmil.tiles.tile_plan.TileChoice`.
    """

    annotation_classes: Annotated[tuple[str, ...], Field(min_length=1)] = TUMOUR_CLASSES
    stain: Stain = "vahadane"
    precision: PrecisionName = "auto"

    @classmethod
    def from_record(cls, settings: Mapping[str, Any]) -> ScoreSettings:
        """Restore settings that were written with :func:`dataclasses.asdict` and JSON."""
        known = {each.name: settings[each.name] for each in fields(cls) if each.name in settings}
        classes = tuple(known.pop("annotation_classes", TUMOUR_CLASSES))
        # Records of version 0.2 have none.
        known.setdefault("precision", "f32")
        return cls(annotation_classes=classes, **known)

    def fingerprint(self, model: str, server: Server) -> str:
        """SHA-256 of everything that determines scores, except for outlines and pixels.

        This covers the settings, the model's identity, the version of this program, and how QuPath
        shows the slide: if the pixel size is corrected in QuPath, the scores become stale.
        """
        content = {
            **asdict(self),
            "model": model,
            "version": __version__,
            "calibration": (server.pixel_width, server.pixel_height),
            "views": [asdict(view) for view in server.views],
        }
        text = json.dumps(content, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def settings_toml(settings: ScoreSettings) -> str:
    """Settings as TOML that ``score --settings`` reads; what is None is left out."""
    lines = [
        # JSON is TOML here, but for one character that must be escaped.
        f"{name} = {json.dumps(value, ensure_ascii=False)}".replace("\x7f", "\\u007f")
        for name, value in asdict(settings).items()
        if value is not None
    ]
    return "\n".join(lines) + "\n"
