"""Reads the reviews: ``<project>/hccmil-reviews/<reviewer>.json``.

A file that is damaged or in another format is left out and named; the others count.
"""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from qupath_hccmil.atomic_files import is_temporary
from qupath_hccmil.errors import DataError
from qupath_hccmil.settings_file import first_fault
from qupath_hccmil.tiles_of_interest.cohort_tiles import CohortProject
from qupath_hccmil.tiles_of_interest.review_features import REVIEWS_FOLDER, TAKEN_NAMES

FORMAT = "hccmil-reviews 1"
LARGEST_FILE = 64 * 1024 * 1024
"""Bytes: 100,000 reviews are a third of it."""

Verdict = Literal["agree", "disagree", "artefact", "cannot say"]
TileKey = tuple[str, str, float, float, float, float]
"""Project, entry ID and bounds, which say which tile is meant whatever scored it."""

# What a later version adds is passed over; what is there must be as agreed.
_STRICT = ConfigDict(extra="ignore", strict=True)
_Text = Annotated[str, Field(min_length=1)]
_Px = Annotated[float, Field(allow_inf_nan=False)]


@dataclass(frozen=True)
class _Entry:
    __pydantic_config__ = _STRICT

    image_id: _Text
    tile: Annotated[list[_Px], Field(min_length=4, max_length=4)]
    verdict: Verdict | None
    features: dict[str, bool]
    blinded: bool
    time: str
    model: str
    image: str = ""
    project: str = ""


@dataclass(frozen=True)
class _File:
    __pydantic_config__ = _STRICT

    format: Literal["hccmil-reviews 1"]
    reviewer: _Text
    features: list[_Text]
    reviews: list[_Entry]
    project: str = ""


@dataclass(frozen=True)
class Review:
    """One reviewer's review of one tile.

    Attributes
    ----------
    reviewer : str
    project : str
        :attr:`.CohortProject.label`.
    image_id, image : str
        ID of the project's entry, and its name as the reviewer saw it.
    bounds : tuple of four float
        x, y, width, height of the tile, level-0 px.
    model : str
        SHA-256 of the weights whose scores the reviewer saw.
    verdict : {"agree", "disagree", "artefact", "cannot say"} or None
    features : dict of str to bool
        Of what was judged: present or absent.
    blinded : bool
    time : datetime
        UTC.
    """

    reviewer: str
    project: str
    image_id: str
    image: str
    bounds: tuple[float, float, float, float]
    model: str
    verdict: Verdict | None
    features: dict[str, bool]
    blinded: bool
    time: datetime

    @property
    def tile(self) -> TileKey:
        """Which tile it is of."""
        return tile_key(self.project, self.image_id, self.bounds)


@dataclass
class ReviewsRead:
    """Reviews of a cohort.

    Attributes
    ----------
    reviews : list of Review
        The latest of each reviewer and tile.
    features : list of str
        All that the files name, in their order.
    elsewhere : int
        Reviews of projects that were not given.
    """

    reviews: list[Review] = field(default_factory=list)
    features: list[str] = field(default_factory=list)
    elsewhere: int = 0


def tile_key(
    project: str, image_id: str, bounds: Sequence[float] | tuple[float, float, float, float]
) -> TileKey:
    """Identity of a tile: thousandths of a px count, as in QuPath's own corners."""
    x, y, width, height = (round(float(value), 3) + 0.0 for value in bounds)
    return project, image_id, x, y, width, height


def read_reviews(projects: Sequence[CohortProject], failed: Callable[[str], None]) -> ReviewsRead:
    """Read the reviews next to the projects.

    An entry that names a project, as the gallery of several projects writes it, counts for that
    one; others count for the project in whose folder the file is. Several files of one reviewer
    are joined, and the latest word on a tile counts.

    Parameters
    ----------
    projects : sequence of CohortProject
    failed : callable
        Called with one line for each file that is left out.

    Raises
    ------
    DataError
        There is no review at all.
    """
    found = ReviewsRead()
    latest: dict[tuple[str, TileKey], Review] = {}
    for project in projects:
        for path in _files(project):
            try:
                content = _read(path)
            except (OSError, ValueError) as error:
                failed(f"{path}: {_one_line(error)}; left out")
                continue
            reviews = [_review(content, each, project, projects) for each in content.reviews]
            _extend(found.features, content.features)
            found.elsewhere += reviews.count(None)
            for review in filter(None, reviews):
                key = (review.reviewer, review.tile)
                before = latest.get(key)
                if before is None or review.time >= before.time:
                    latest[key] = review
                _extend(found.features, review.features)
    found.reviews = list(latest.values())
    if not found.reviews:
        where = ", ".join(str(project.folder / REVIEWS_FOLDER) for project in projects[:3])
        raise DataError(
            f"{where}: no reviews; review tiles in QuPath or in the gallery, and put the gallery's "
            "file there"
        )
    return found


def _extend(names: list[str], more: Iterable[str]) -> None:
    names += [name for name in dict.fromkeys(more) if name not in names]


def _files(project: CohortProject) -> list[Path]:
    folder = project.folder / REVIEWS_FOLDER
    found = folder.glob("*.json") if folder.is_dir() else ()
    return sorted(p for p in found if p.is_file() and not is_temporary(p) and p.name[0] != ".")


@cache
def _adapter() -> TypeAdapter[_File]:
    return TypeAdapter(_File)


def _read(path: Path) -> _File:
    if path.stat().st_size > LARGEST_FILE:
        raise ValueError(f"is larger than {LARGEST_FILE >> 20} MB, so no file of reviews")
    read = _adapter().validate_json(path.read_bytes().removeprefix(BOM_UTF8))
    if not read.reviewer.strip():
        raise ValueError("names no reviewer")
    named = [*read.features, *(name for entry in read.reviews for name in entry.features)]
    taken = next((name for name in named if name.strip().casefold() in TAKEN_NAMES), None)
    if taken is not None:
        raise ValueError(f"a feature can't be called {taken!r}; rename it in features.toml")
    for entry in read.reviews:
        _time(entry.time)
        if not (entry.tile[2] > 0 and entry.tile[3] > 0):
            raise ValueError(f"a tile of {entry.tile[2]:g} × {entry.tile[3]:g} px")
    return read


def _review(
    content: _File, entry: _Entry, project: CohortProject, projects: Sequence[CohortProject]
) -> Review | None:
    # a folder may have another name since: then the file's place says which project it is
    place = _named(entry.project or content.project, projects) or (
        None if entry.project else project
    )
    if place is None:
        return None
    x, y, width, height = entry.tile
    return Review(
        reviewer=content.reviewer.strip(),
        project=place.label,
        image_id=entry.image_id,
        image=entry.image,
        bounds=(x, y, width, height),
        model=entry.model,
        verdict=entry.verdict,
        features=entry.features,
        blinded=entry.blinded,
        time=_time(entry.time),
    )


def _named(name: str, projects: Sequence[CohortProject]) -> CohortProject | None:
    """Find the project that a text names by its label, its path or its folder's name."""
    exact = [p for p in projects if name in (p.label, str(p.folder), str(p.path))]
    found = exact or [p for p in projects if name == p.folder.name]
    return found[0] if len(found) == 1 else None


def _time(text: str) -> datetime:
    # Python 3.10 doesn't read the Z
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def _one_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return f"is not a file of reviews: {first_fault(error)}"
    if isinstance(error, OSError):
        return f"cannot be read: {error.strerror or error}"
    return " ".join(str(error).split())
