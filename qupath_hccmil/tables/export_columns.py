"""All columns of the export tables: name, kind, unit and meaning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["image", "annotation", "tile", "patient"]
Kind = Literal["text", "number", "integer", "flag"]


@dataclass(frozen=True)
class Column:
    """One column of a table; an absent value is an empty cell, never 0."""

    name: str
    kind: Kind
    meaning: str
    unit: str = ""


_ALL = (
    Column("patient", "text", "patient, from the image's metadata or a table"),
    Column("image", "text", "name of the image in the project"),
    Column("entry_id", "text", "id of the image in the project; joins the levels"),
    Column("annotation_id", "text", "QuPath's UUID of the outline"),
    Column("annotation_name", "text", "name of the outline"),
    Column("class", "text", "QuPath class of the outline or tile"),
    Column("area_um2", "number", "area of the outline", "µm²"),
    Column("tile_id", "text", "QuPath's UUID of the tile"),
    Column("x_px", "number", "left edge of the tile", "level-0 px"),
    Column("y_px", "number", "top edge of the tile", "level-0 px"),
    Column("width_px", "number", "width of the tile", "level-0 px"),
    Column("height_px", "number", "height of the tile", "level-0 px"),
    Column("risk", "number", "risk of recurrence, sigmoid of risk_logit", "0 to 1"),
    Column("risk_logit", "number", "S: signed generalised mean of the tile logits"),
    Column("group", "text", "low or high: risk compared with the model's threshold"),
    Column("rule", "text", "rule by which the slides of a patient were joined"),
    Column("images", "integer", "number of images of the patient"),
    Column("images_scored", "integer", "number of images of the patient that have a score"),
    Column("tiles", "integer", "number of scored tiles, each counted once"),
    Column(
        "high_risk_tile_fraction", "number", "share of tiles with the class high risk", "0 to 1"
    ),
    Column("nuclei_fraction", "number", "mean share of the tiles' area that is nuclei", "0 to 1"),
    Column("tile_risk", "number", "sigmoid of tile_logit", "0 to 1"),
    Column("tile_logit", "number", "logit of the tile"),
    Column("tile_contribution", "number", "signed share of m; sums to m over the slide's tiles"),
    Column("tile_nuclei_fraction", "number", "share of the tile's area that is nuclei", "0 to 1"),
    Column("p", "number", "exponent of the model's generalised mean over tiles"),
    Column("threshold", "number", "risk above which the group is high", "0 to 1"),
    Column("mpp", "number", "pixel size that was used", "µm per level-0 px"),
    Column("mpp_source", "text", "where the pixel size came from"),
    Column("stale", "flag", "whether the outlines were edited since they were scored"),
    Column("model", "text", "name of the model"),
    Column("weights_sha256", "text", "SHA-256 of the model's weights"),
    Column("settings_sha256", "text", "SHA-256 of the settings of the run"),
    Column("version", "text", "version of qupath-hccmil that scored the image"),
    Column("time", "text", "time of scoring, UTC", "ISO 8601"),
)

BY_NAME = {column.name: column for column in _ALL}

_PROVENANCE = "mpp mpp_source stale model weights_sha256 settings_sha256 version time"
_SUMMARY = "risk risk_logit group tiles high_risk_tile_fraction nuclei_fraction"

# Tiles have only the provenance that is needed to read their scores: entry_id leads to that of the
# image, and a table may have millions of tiles.
_NAMES: dict[Level, str] = {
    "image": f"image entry_id patient {_SUMMARY} p threshold {_PROVENANCE}",
    "annotation": (
        "image entry_id patient annotation_id annotation_name class area_um2 risk risk_logit"
        f" tiles high_risk_tile_fraction nuclei_fraction p threshold {_PROVENANCE}"
    ),
    "tile": (
        "image entry_id patient annotation_id annotation_name tile_id x_px y_px width_px height_px"
        " class tile_risk tile_logit tile_contribution tile_nuclei_fraction p threshold"
    ),
    "patient": (
        f"patient {_SUMMARY} rule images images_scored p threshold stale model weights_sha256"
    ),
}


def columns_of(level: Level) -> tuple[Column, ...]:
    """Columns of a level, in the order of the table."""
    return tuple(BY_NAME[name] for name in _NAMES[level].split())
