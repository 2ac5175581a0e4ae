"""The gallery: one page to look at tiles, sort and filter them, and review them by keyboard."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup

from qupath_hccmil import __version__
from qupath_hccmil.method.research_use import RESEARCH_USE, SURROGATE
from qupath_hccmil.qupath.names import CLASS_COLOURS, CLASS_HIGH, CLASS_LOW
from qupath_hccmil.tiles_of_interest.choose_tiles import ChosenTile
from qupath_hccmil.tiles_of_interest.review_features import VERDICTS, ReviewFeature

_INKS = (0x111111, 0xFFFFFF)


@dataclass(frozen=True)
class Gallery:
    """What a gallery shows.

    Attributes
    ----------
    tiles : sequence of ChosenTile
        Of one model; at least one.
    pictures : mapping of int to str
        :attr:`.ChosenTile.number` to where its crop is: a relative path, or a ``data:`` URI.
    projects : sequence of str
        Labels of the cohort's projects: where there are several, each review names its own.
    features : sequence of ReviewFeature
    facts : sequence of (str, str)
        Label and value, shown at the top.
    notes : sequence of str
        Notes for the user of the cohort.
    made : datetime
    """

    tiles: Sequence[ChosenTile]
    pictures: Mapping[int, str]
    projects: Sequence[str]
    features: Sequence[ReviewFeature]
    facts: Sequence[tuple[str, str]]
    notes: Sequence[str]
    made: datetime


def render_gallery(gallery: Gallery) -> str:
    """Render as one HTML file: style, script and data are inside, nothing is fetched or sent."""
    folder = files("qupath_hccmil.tiles_of_interest") / "templates"

    def text(name: str) -> str:
        return (folder / name).read_text(encoding="utf-8")

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(text),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # in the order in which they are given, as verdicts and features are shown
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False}
    record = gallery.tiles[0].image.record
    return environment.get_template("gallery.html.j2").render(
        page=_page(gallery),
        css=Markup(text("gallery.css")),
        js=Markup(text("gallery.js")),
        colours=_colours(),
        facts=gallery.facts,
        notes=gallery.notes,
        research_use=RESEARCH_USE,
        surrogate=SURROGATE if record.surrogate else "",
        version=__version__,
        made=gallery.made.strftime("%Y-%m-%d"),
    )


def data_uri(jpeg: bytes) -> str:
    """Put a JPEG into a page."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode('ascii')}"


def _page(gallery: Gallery) -> dict[str, Any]:
    """Make what the script reads; tiles by number, so that the file's order says nothing."""
    ordered = sorted(gallery.tiles, key=lambda tile: tile.number)
    record = ordered[0].image.record
    shown = [_tile(tile, gallery.pictures.get(tile.number)) for tile in ordered]
    identity = [record.weights_sha256, *([t["project"], t["image_id"], t["tile"]] for t in shown)]
    return {
        "id": hashlib.sha256(json.dumps(identity).encode("utf-8")).hexdigest()[:16],
        "model": {"name": record.model, "sha256": record.weights_sha256},
        "projects": list(gallery.projects),
        "features": [{"name": each.name, "key": each.key} for each in gallery.features],
        "verdicts": VERDICTS,
        "tiles": shown,
    }


def _tile(tile: ChosenTile, picture: str | None) -> dict[str, Any]:
    image = tile.image
    return {
        "number": tile.number,
        "side": tile.side,
        "rank": tile.rank,
        "project": image.project.label,
        "image": image.entry.name,
        "slide": image.label,
        "image_id": image.entry.id,
        "patient": image.patient,
        "tile": [_whole(value) for value in tile.bounds],
        "um": tile.side_um,
        "risk": tile.risk,
        "contribution": tile.contribution,
        "nuclei": tile.value_of("nuclei_fraction"),
        "slide_risk": image.record.risk,
        "slide_group": image.record.group,
        "stale": image.stale,
        "src": picture,
    }


def _whole(value: float) -> float | int:
    return int(value) if value == int(value) else value


def _colours() -> dict[str, str]:
    found = {}
    for side, name in (("high", CLASS_HIGH), ("low", CLASS_LOW)):
        colour = CLASS_COLOURS[name]
        found[side] = css_colour(colour)
        found[f"{side}_ink"] = css_colour(max(_INKS, key=lambda ink: _contrast(ink, colour)))
    return found


def css_colour(packed: int) -> str:
    """``#rrggbb`` of packed RGB."""
    return f"#{packed:06x}"


def _contrast(one: int, other: int) -> float:
    """Contrast of two colours as WCAG 2 defines it, 1 to 21."""
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def _luminance(packed: int) -> float:
    parts = [(packed >> shift & 255) / 255 for shift in (16, 8, 0)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
