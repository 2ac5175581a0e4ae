"""All columns of the export tables: name, kind, unit and meaning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["image", "annotation", "tile", "patient"]
TableName = Literal[
    "image", "annotation", "tile", "patient", "tile of interest", "review", "reviewer",
    "agreement", "feature", "verdict", "artefact",
]  # fmt: skip
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
    Column("project", "text", "folder of the project, with its path where two have one name"),
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
    Column(
        "tile_contribution",
        "number",
        "signed share of m; sums to m over the slide's tiles (of a head: to risk_logit)",
    ),
    Column("tile_nuclei_fraction", "number", "share of the tile's area that is nuclei", "0 to 1"),
    Column("number", "integer", "number of the tile in an order that does not depend on its score"),
    Column("chosen_as", "text", "high or low: one of the highest or of the lowest tiles"),
    Column("rank", "integer", "1 for the highest of the high tiles and the lowest of the low ones"),
    Column(
        "contribution",
        "number",
        "tile_contribution; with --level patient the tile's share of the patient's m, all slides "
        "pooled",
    ),
    Column("crop", "text", "file of the tile's pixels; empty where the slide could not be read"),
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
    Column("reviewer", "text", "name of the reviewer"),
    Column("reviewers", "text", "names of the reviewers that are compared"),
    Column("reviewed", "text", "time of the review, UTC", "ISO 8601"),
    Column("verdict", "text", "agree, disagree, artefact or cannot say"),
    Column("features", "text", "features that were judged present"),
    Column("features_absent", "text", "features that were judged absent"),
    Column("blinded", "flag", "whether the scores were hidden in the review"),
    Column("other_model", "flag", "whether the reviewer saw the tile with another model's scores"),
    Column("reviewed_tiles", "integer", "reviewed tiles"),
    Column("blinded_tiles", "integer", "tiles reviewed with the scores hidden"),
    Column("agree", "integer", "tiles with that verdict"),
    Column("disagree", "integer", "tiles with that verdict"),
    Column("artefact", "integer", "tiles with that verdict"),
    Column("cannot_say", "integer", "tiles with that verdict"),
    Column("no_verdict", "integer", "reviewed tiles without a verdict"),
    Column("question", "text", "verdict, or the feature that was judged"),
    Column("statistic", "text", "Cohen's kappa of two reviewers, Fleiss' kappa of three or more"),
    Column("compared_tiles", "integer", "tiles that all of these reviewers answered"),
    Column("units", "integer", "slides (with --level patient: patients) that have these tiles"),
    Column("observed_agreement", "number", "share of pairs of answers that are the same", "0 to 1"),
    Column("kappa", "number", "agreement beyond chance; empty if all answers are the same"),
    Column("lower", "number", "lower end of the interval"),
    Column("upper", "number", "upper end of the interval"),
    Column("interval", "text", "how the interval was computed, or why there is none"),
    Column("feature", "text", "feature of tiles"),
    Column("high", "integer", "high tiles that have the feature"),
    Column("high_total", "integer", "high tiles in which it was judged"),
    Column("low", "integer", "low tiles that have the feature"),
    Column("low_total", "integer", "low tiles in which it was judged"),
    Column("odds_ratio", "number", "conditional odds ratio of the feature, high against low"),
    Column("fisher_p", "number", "Fisher's exact test, which takes tiles as independent", "0 to 1"),
    Column("fisher_p_holm", "number", "the same, Holm's correction over the features", "0 to 1"),
    Column("units_lower", "number", "lower end of the odds ratio by bootstrap over slides"),
    Column("units_upper", "number", "upper end of the odds ratio by bootstrap over slides"),
    Column("units_p", "number", "sign-flip test by slide (or patient)", "0 to 1"),
    Column("units_p_holm", "number", "the same, Holm's correction over the features", "0 to 1"),
    Column("artefacts", "integer", "tiles that most of their reviewers call an artefact"),
    Column("share", "number", "share of the reviewed tiles that are artefacts", "0 to 1"),
)

BY_NAME = {column.name: column for column in _ALL}

_PROVENANCE = "mpp mpp_source stale model weights_sha256 settings_sha256 version time"
_SUMMARY = "risk risk_logit group tiles high_risk_tile_fraction nuclei_fraction"

# Tiles have only the provenance that is needed to read their scores: entry_id leads to that of the
# image, and a table may have millions of tiles.
_NAMES: dict[TableName, str] = {
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
    "tile of interest": (
        "number chosen_as rank project image entry_id patient annotation_id annotation_name tile_id"
        " x_px y_px width_px height_px class tile_risk tile_logit tile_contribution contribution"
        f" tile_nuclei_fraction p threshold {_PROVENANCE} crop"
    ),
    "review": (
        "project image entry_id patient x_px y_px width_px height_px chosen_as tile_risk"
        " contribution reviewer verdict features features_absent blinded other_model reviewed"
    ),
    "reviewer": (
        "reviewer reviewed_tiles blinded_tiles agree disagree artefact cannot_say no_verdict"
    ),
    "agreement": (
        "question statistic reviewers compared_tiles units observed_agreement kappa lower upper"
        " interval"
    ),
    "feature": (
        "feature high high_total low low_total odds_ratio lower upper fisher_p fisher_p_holm units"
        " units_lower units_upper units_p units_p_holm"
    ),
    "verdict": "chosen_as reviewer agree disagree artefact cannot_say no_verdict",
    "artefact": "chosen_as reviewed_tiles artefacts share lower upper",
}


def columns_of(table: TableName) -> tuple[Column, ...]:
    """Columns of a level or another table of ours, in the order of the table."""
    return tuple(BY_NAME[name] for name in _NAMES[table].split())
