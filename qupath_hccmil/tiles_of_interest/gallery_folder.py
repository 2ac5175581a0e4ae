"""Writes the tiles of interest: crops, table, contact sheet, gallery."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from io import BytesIO
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from PIL import Image

from qupath_hccmil import __version__
from qupath_hccmil.atomic_files import atomic_file, make_folder
from qupath_hccmil.method.research_use import RESEARCH_USE, SURROGATE
from qupath_hccmil.qupath.names import CLASS_COLOURS, CLASS_HIGH, CLASS_LOW
from qupath_hccmil.result_folder import ResultFolder
from qupath_hccmil.tables.export_columns import columns_of
from qupath_hccmil.tables.table import Table
from qupath_hccmil.tables.table_writer import write_table
from qupath_hccmil.tiles_of_interest.choose_tiles import ChosenTile, TileWish, choose_tiles
from qupath_hccmil.tiles_of_interest.cohort_tiles import Cohort
from qupath_hccmil.tiles_of_interest.contact_sheet import SHEET_TILES, Panel, draw_contact_sheet
from qupath_hccmil.tiles_of_interest.gallery_page import (
    Gallery,
    css_colour,
    data_uri,
    render_gallery,
)
from qupath_hccmil.tiles_of_interest.review_features import review_features
from qupath_hccmil.tiles_of_interest.tile_crops import CROP_MPP, Crops, read_crops

RECORD, TABLE, PAGE = "tiles.json", "tiles.csv", "gallery.html"
SHEETS = {"png": "contact-sheet.png", "pdf": "contact-sheet.pdf"}
OURS = re.compile(
    r"tiles\.(json|csv)|gallery\.html|contact-sheet\.(png|pdf)|crops/\d+\.jpg",
)
# No JPEG blocks are visible, and stains keep their full resolution.
_JPEG = {"quality": 92, "subsampling": 0}


@dataclass
class GalleryMade:
    """What was written.

    Attributes
    ----------
    folder : Path
    high, low : int
        Tiles of each side.
    pictures : int
        Tiles whose slide could be read.
    images : int
        Slides that the tiles are of.
    files : list of str
        Relative to the folder.
    notes : list of str
        Notes for the user.
    failed : list of str
        Images and slides that could not be read, with the reason.
    """

    folder: Path
    high: int
    low: int
    pictures: int
    images: int
    files: list[str]
    notes: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


def make_gallery(
    cohort: Cohort,
    folder: Path,
    wish: TileWish,
    *,
    mpp: float = CROP_MPP,
    slides: Path | None = None,
    self_contained: bool = False,
) -> GalleryMade:
    """Choose the tiles of a cohort and write them into a folder.

    Parameters
    ----------
    cohort : Cohort
    folder : Path
        Files of an earlier run are replaced or removed, others are left alone.
    wish : TileWish
    mpp : float
        µm per px of the crops.
    slides : Path, optional
        Folder in which slides that have moved are looked for by file name.
    self_contained : bool
        Whether the page includes the pictures.

    Raises
    ------
    DataError
        There is no scored tile, the images are of different models, a scored image has no patient
        where patients are asked for, or a file is there that no earlier run wrote.
    WriteError
        The folder can't be written.
    """
    make_folder(folder)
    results = ResultFolder(folder, RECORD, OURS)
    features = review_features(cohort.projects)
    tiles = choose_tiles(cohort.images(), wish)
    crop_names = _crop_names(tiles)
    names = [RECORD, TABLE, PAGE, *SHEETS.values(), *crop_names.values()]
    results.require_free(names)
    failed = list(cohort.failed)
    crops = read_crops(tiles, mpp=mpp, slides=slides, failed=failed.append)
    made = datetime.now(timezone.utc)
    facts = _facts(tiles, wish, cohort, mpp)
    jpegs = {number: _jpeg(crop) for number, crop in crops.items()}
    contents: dict[str, bytes] = {crop_names[number]: jpeg for number, jpeg in jpegs.items()}
    pictures = {
        number: data_uri(jpeg) if self_contained else crop_names[number]
        for number, jpeg in jpegs.items()
    }
    notes = [*cohort.notes, *(f"not read: {line}" for line in failed)]
    projects = [project.label for project in cohort.projects]
    page = Gallery(tiles, pictures, projects, features, facts, notes, made)
    contents[PAGE] = render_gallery(page).encode("utf-8", "backslashreplace")
    if crops:
        sheet = _contact_sheet(tiles, crops, wish)
        contents.update({SHEETS[kind]: drawn for kind, drawn in sheet.items()})
    written = sorted([RECORD, TABLE, *contents])
    record = {
        "note": RESEARCH_USE,
        "version": __version__,
        "time": made.isoformat(timespec="seconds"),
        "projects": [str(project.path) for project in cohort.projects],
        "settings": {**asdict(wish), "mpp": mpp, "self_contained": self_contained},
        "model": _model(tiles),
        "notes": list(cohort.notes),
        "failed": failed,
        "files": written,
    }
    results.remove_others(written)
    # Written first, so that it lists our files even if the run is interrupted.
    first = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
    _write(folder / RECORD, first.encode("utf-8", "backslashreplace"))
    for name, content in contents.items():
        _write(folder / name, content)
    batch = _table(tiles, {number: crop_names[number] for number in crops})
    write_table(Table("tile of interest", [batch]), folder / TABLE)
    sides = Counter(tile.side for tile in tiles)
    return GalleryMade(
        folder, sides["high"], sides["low"], len(crops), _images(tiles), written,
        list(cohort.notes), failed,
    )  # fmt: skip


def _write(path: Path, content: bytes) -> None:
    with atomic_file(path) as new:
        new.write_bytes(content)


def _crop_names(tiles: Sequence[ChosenTile]) -> dict[int, str]:
    """Name crops by number, which does not depend on the score, so it tells a reviewer nothing."""
    digits = len(str(len(tiles)))
    return {tile.number: f"crops/{tile.number:0{digits}}.jpg" for tile in tiles}


def _jpeg(crop: NDArray[Any]) -> bytes:
    out = BytesIO()
    Image.fromarray(crop).save(out, "JPEG", **_JPEG)
    return out.getvalue()


def _images(tiles: Sequence[ChosenTile]) -> int:
    return len({tile.image.unit("slide") for tile in tiles})


def _model(tiles: Sequence[ChosenTile]) -> dict[str, Any]:
    record = tiles[0].image.record
    return {
        "name": record.model,
        "weights_sha256": record.weights_sha256,
        "surrogate": record.surrogate,
        "p": record.p,
        "threshold": record.threshold,
    }


def _counts(tiles: Sequence[ChosenTile]) -> str:
    """How many slides and patients the tiles are of."""
    images = _images(tiles)
    patients = len({tile.image.patient for tile in tiles if tile.image.patient is not None})
    told = f"{images} slide{'' if images == 1 else 's'}"
    return f"{told}, {patients} patient{'' if patients == 1 else 's'}" if patients else told


def _facts(
    tiles: Sequence[ChosenTile], wish: TileWish, cohort: Cohort, mpp: float
) -> list[tuple[str, str]]:
    record = tiles[0].image.record
    sides = Counter(tile.side for tile in tiles)
    limit = "" if wish.per_unit is None else f", at most {wish.per_unit} a {wish.level} and side"
    projects = [project.label for project in cohort.projects]
    more = f" and {len(projects) - 3} more" if len(projects) > 3 else ""
    return [
        ("Tiles", f"{sides['high']} highest, {sides['low']} lowest by {wish.by}{limit}"),
        ("From", f"{_counts(tiles)}; {', '.join(projects[:3])}{more}"),
        ("Model", f"{record.model} ({record.weights_sha256[:8]})"),
        ("Threshold", f"{record.threshold:g}"),
        ("Pictures", f"{tiles[0].side_um:.0f} µm at {mpp:g} µm/px"),
    ]


def _contact_sheet(tiles: Sequence[ChosenTile], crops: Crops, wish: TileWish) -> dict[str, bytes]:
    record = tiles[0].image.record
    panels, counts, shown = [], [], []
    for letter, side, word, name in (
        ("A", "high", "Highest", CLASS_HIGH),
        ("B", "low", "Lowest", CLASS_LOW),
    ):
        mine = [tile for tile in tiles if tile.side == side]
        drawn = [crops[tile.number] for tile in mine if tile.number in crops]
        panels.append(Panel(f"{letter}  {word} tiles", css_colour(CLASS_COLOURS[name]), drawn))
        counts.append(len(mine))
        shown.append(min(len(drawn), SHEET_TILES))
    told = "all" if shown == counts else f"the first {shown[0]} and {shown[1]}"
    caption = (
        f"Highest (A) and lowest (B) tiles by {wish.by}, n = {counts[0]} and {counts[1]} ({told} "
        f"shown, most extreme first, by row), from {_counts(tiles)}. Model {record.model} (weights "
        f"{record.weights_sha256[:8]}). {RESEARCH_USE}"
    )
    if record.surrogate:
        caption += f" {SURROGATE}"
    return draw_contact_sheet(panels, tiles[0].side_um, caption)


def _table(tiles: Sequence[ChosenTile], crops: dict[int, str]) -> dict[str, list[Any]]:
    rows = [_row(tile, crops) for tile in tiles]
    return {c.name: [row[c.name] for row in rows] for c in columns_of("tile of interest")}


def _row(tile: ChosenTile, crops: dict[int, str]) -> dict[str, Any]:
    image, record = tile.image, tile.image.record
    x, y, width, height = tile.bounds
    outline, name = image.tiles.outlines[int(image.tiles.outline[tile.row])]
    return {
        "number": tile.number, "chosen_as": tile.side, "rank": tile.rank,
        "project": image.project.label, "image": image.entry.name, "entry_id": image.entry.id,
        "patient": image.patient, "annotation_id": outline, "annotation_name": name,
        "tile_id": tile.value_of("tile_ids"),
        "x_px": x, "y_px": y, "width_px": width, "height_px": height,
        "class": tile.value_of("class_names"),
        "tile_risk": tile.risk,
        "tile_logit": tile.value_of("logit"),
        "tile_contribution": tile.value_of("contribution"),
        "contribution": tile.contribution,
        "tile_nuclei_fraction": tile.value_of("nuclei_fraction"),
        "p": record.p, "threshold": record.threshold,
        "mpp": record.mpp, "mpp_source": record.mpp_source, "stale": image.stale,
        "model": record.model, "weights_sha256": record.weights_sha256,
        "settings_sha256": record.settings_sha256, "version": record.version,
        "time": record.time,
        "crop": crops.get(tile.number),
    }  # fmt: skip
