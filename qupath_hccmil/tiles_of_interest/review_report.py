"""Tables of a cohort's reviews: reviewers, agreement, features (the paper's table 3), artefacts."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd
from statsmodels.stats.proportion import proportion_confint

from qupath_hccmil.method.bootstrap import check_repeats
from qupath_hccmil.tiles_of_interest.agreement import REPEATS, agreement, consensus
from qupath_hccmil.tiles_of_interest.choose_tiles import TileWish, choose_tiles
from qupath_hccmil.tiles_of_interest.cohort_tiles import Cohort, ScoredImage
from qupath_hccmil.tiles_of_interest.feature_comparison import compare_features
from qupath_hccmil.tiles_of_interest.review_files import (
    Review,
    ReviewsRead,
    TileKey,
    read_reviews,
    tile_key,
)

OTHER = "other"
SIDES = ("high", "low", OTHER)
ARTEFACT = "artefact"
_VERDICTS = {
    "agree": "agree", "disagree": "disagree", ARTEFACT: ARTEFACT, "cannot say": "cannot_say",
    None: "no_verdict",
}  # fmt: skip


@dataclass(frozen=True)
class ReviewSettings:
    """How reviews are compared.

    Attributes
    ----------
    repeats : int
        Bootstrap samples; 0 gives no intervals over slides, and 1 is refused.
    seed : int
    confidence : float
        Of intervals, in (0, 1).
    """

    repeats: int = REPEATS
    seed: int = 0
    confidence: float = 0.95


@dataclass(frozen=True)
class ReviewReport:
    """Tables of the reviews; the columns are those of :mod:`qupath_hccmil.tables.export_columns`.

    Attributes
    ----------
    reviews : DataFrame
        A row a review.
    reviewers : DataFrame
        Who reviewed how much, with which verdicts.
    verdicts : DataFrame
        The same by high, low and other tiles.
    agreement : DataFrame
    features : DataFrame
        Table 3: features of high and low tiles; empty where none was judged on both sides.
    artefacts : DataFrame
        By why the tile was shown: as a high tile, as a low one, or otherwise.
    for_survival : DataFrame
        What ``survival --tiles`` takes: ``group``, ``tile``, and 1, 0 or nothing for each feature.
    notes : list of str
        Notes for the user.
    """

    reviews: pd.DataFrame
    reviewers: pd.DataFrame
    verdicts: pd.DataFrame
    agreement: pd.DataFrame
    features: pd.DataFrame
    artefacts: pd.DataFrame
    for_survival: pd.DataFrame
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Tile:
    """What is known of a reviewed tile; values are None where it isn't in the project now."""

    unit: str
    side: str = OTHER
    patient: str | None = None
    image: str | None = None
    model: str | None = None
    risk: float | None = None
    contribution: float | None = None


def review_report(
    cohort: Cohort,
    wish: TileWish,
    settings: ReviewSettings | None = None,
    *,
    failed: Callable[[str], None],
) -> ReviewReport:
    """Read the reviews next to the projects and compare them.

    High and low tiles are those that :func:`.choose_tiles` chooses now, by the same `wish` as the
    gallery's. Where reviewers differ on a feature of a tile, most of them decide; where they are
    split, the tile doesn't count for the feature. A tile that most call an artefact is left out of
    the comparison.

    Parameters
    ----------
    cohort : Cohort
    wish : TileWish
        With level ``patient`` patients instead of slides are what is independent.
    settings : ReviewSettings, optional
    failed : callable
        Called with one line for each review file that is left out.

    Raises
    ------
    DataError
        There is no review, no scored tile, the images are of different models, or there should be
        one bootstrap sample.
    """
    settings = settings or ReviewSettings()
    check_repeats(settings.repeats)
    read = read_reviews(cohort.projects, failed)
    tiles = _known_tiles(cohort, wish, read.reviews)
    words = "patients" if wish.level == "patient" else "slides"
    answers = _answers(read, tiles)
    decided = _decided(answers, read.features)
    compared = decided[(decided["group"] != OTHER) & (decided["verdict"] != ARTEFACT)]
    judged = compared[compared[read.features].notna().any(axis=1)]
    return ReviewReport(
        reviews=_reviews(read.reviews, tiles),
        reviewers=_counted(answers, ["reviewer"]),
        verdicts=_counted(answers, ["group", "reviewer"]).rename(columns={"group": "chosen_as"}),
        agreement=agreement(
            answers,
            ["verdict", *read.features],
            repeats=settings.repeats,
            seed=settings.seed,
            confidence=settings.confidence,
            unit_name=words,
        ),
        features=compare_features(
            judged,
            read.features,
            repeats=settings.repeats,
            seed=settings.seed,
            confidence=settings.confidence,
        ),
        artefacts=_artefacts(decided, settings.confidence),
        for_survival=_for_survival(judged, read.features),
        notes=[*_notes(read, tiles, decided), *_split(answers, decided, read.features)],
    )


def _known_tiles(cohort: Cohort, wish: TileWish, reviews: Sequence[Review]) -> dict[TileKey, _Tile]:
    """Look up each reviewed tile in what is written in the projects now."""
    wanted: dict[tuple[str, str], set[TileKey]] = defaultdict(set)
    for review in reviews:
        wanted[review.project, review.image_id].add(review.tile)
    known: dict[TileKey, _Tile] = {}
    units: dict[tuple[str, str], str] = {}

    def passing() -> Iterator[ScoredImage]:
        for image in cohort.images():
            place = (image.project.label, image.entry.id)
            units[place] = ": ".join(image.unit(wish.level))
            keys = wanted.get(place, set())
            known.update(_of_image(image, keys, wish) if keys else {})
            yield image

    for chosen in choose_tiles(passing(), wish):
        image = chosen.image
        key = tile_key(image.project.label, image.entry.id, chosen.bounds)
        if key in known:
            known[key] = replace(known[key], side=chosen.side, contribution=chosen.contribution)
    for project, image_id in wanted:
        for key in wanted[project, image_id] - known.keys():
            # Its image may still be there, and then its patient is known.
            known[key] = _Tile(unit=units.get((project, image_id), f"{project}: {image_id}"))
    return known


def _of_image(image: ScoredImage, keys: set[TileKey], wish: TileWish) -> dict[TileKey, _Tile]:
    found = {}
    for row, bounds in enumerate(image.tiles.bounds.tolist()):
        key = tile_key(image.project.label, image.entry.id, bounds)
        if key in keys:
            found[key] = _Tile(
                unit=": ".join(image.unit(wish.level)),
                patient=image.patient,
                image=image.entry.name,
                model=image.record.weights_sha256,
                risk=float(image.tiles.risk[row]),
            )
    return found


def _answers(read: ReviewsRead, tiles: dict[TileKey, _Tile]) -> pd.DataFrame:
    """A row a review: ``tile, unit, group, reviewer, verdict, blinded``, features."""
    rows = [
        {
            "tile": review.tile,
            "unit": tiles[review.tile].unit,
            "group": tiles[review.tile].side,
            "reviewer": review.reviewer,
            "verdict": review.verdict,
            "blinded": review.blinded,
            **{name: review.features.get(name) for name in read.features},
        }
        for review in read.reviews
    ]
    return pd.DataFrame(rows, dtype=object)


def _decided(answers: pd.DataFrame, features: Sequence[str]) -> pd.DataFrame:
    """A row a tile: what most of its reviewers say."""
    of_tile: dict[TileKey, list[dict[str, Any]]] = defaultdict(list)
    for answer in answers.to_dict("records"):
        of_tile[answer["tile"]].append({str(name): value for name, value in answer.items()})
    rows = [
        {
            "tile": tile,
            "unit": mine[0]["unit"],
            "group": mine[0]["group"],
            **{name: consensus([one[name] for one in mine]) for name in ("verdict", *features)},
        }
        for tile, mine in sorted(of_tile.items())
    ]
    return pd.DataFrame(rows, dtype=object)


def _reviews(reviews: Sequence[Review], tiles: dict[TileKey, _Tile]) -> pd.DataFrame:
    ordered = sorted(reviews, key=lambda review: (review.tile, review.reviewer))
    rows = []
    for review in ordered:
        tile = tiles[review.tile]
        x, y, width, height = review.bounds
        rows.append({
            "project": review.project,
            "image": tile.image or review.image,
            "entry_id": review.image_id,
            "patient": tile.patient,
            "x_px": x, "y_px": y, "width_px": width, "height_px": height,
            "chosen_as": tile.side,
            "tile_risk": tile.risk,
            "contribution": tile.contribution,
            "reviewer": review.reviewer,
            "verdict": review.verdict,
            "features": _listed(review, present=True),
            "features_absent": _listed(review, present=False),
            "blinded": review.blinded,
            "other_model": None if tile.model is None else tile.model != review.model,
            "reviewed": review.time.isoformat(timespec="seconds"),
        })  # fmt: skip
    return pd.DataFrame(rows, dtype=object)


def _listed(review: Review, *, present: bool) -> str | None:
    return "; ".join(name for name, there in review.features.items() if there == present) or None


def _counted(answers: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Count verdicts, and reviewed tiles where it is by reviewer alone."""
    rows = []
    for _, mine in answers.groupby(by, sort=True):
        counts = Counter(mine["verdict"].map(lambda v: _VERDICTS[v]))
        rows.append({
            **{name: mine[name].iloc[0] for name in by},
            "reviewed_tiles": len(mine),
            "blinded_tiles": int(mine["blinded"].sum()),
            **{name: counts[name] for name in _VERDICTS.values()},
        })  # fmt: skip
    return pd.DataFrame(rows)


def _artefacts(decided: pd.DataFrame, confidence: float) -> pd.DataFrame:
    rows = []
    for side in SIDES:
        mine = decided[decided["group"] == side]
        total, bad = len(mine), int((mine["verdict"] == ARTEFACT).sum())
        if not total:
            continue
        lower, upper = proportion_confint(bad, total, alpha=1 - confidence, method="wilson")
        rows.append((side, total, bad, bad / total, float(lower), float(upper)))
    names = ["chosen_as", "reviewed_tiles", "artefacts", "share", "lower", "upper"]
    return pd.DataFrame(rows, columns=names)


def _for_survival(judged: pd.DataFrame, features: Sequence[str]) -> pd.DataFrame:
    told = {None: None, True: 1, False: 0}
    called = ["{}: {}: {:g},{:g},{:g},{:g}".format(*tile) for tile in judged["tile"]]
    columns = {name: [told[value] for value in judged[name]] for name in features}
    return pd.DataFrame({"group": judged["group"].tolist(), "tile": called, **columns})


def _notes(read: ReviewsRead, tiles: dict[TileKey, _Tile], decided: pd.DataFrame) -> Iterator[str]:
    of = [(review, tiles[review.tile]) for review in read.reviews]
    gone = sum(tile.model is None for _, tile in of)
    other = sum(tile.model is not None and tile.side == OTHER for _, tile in of)
    models = sum(tile.model is not None and tile.model != review.model for review, tile in of)
    bad = int(((decided["verdict"] == ARTEFACT) & (decided["group"] != OTHER)).sum())
    if gone:
        yield (
            f"reviews of tiles that are no longer in the projects: {gone}; they count only for the "
            "agreement"
        )
    if other:
        yield (
            f"reviews of tiles that are not among the highest and lowest: {other}; they count only "
            "for the agreement"
        )
    if models:
        yield f"reviews made with another model's scores: {models}"
    if bad:
        yield f"tiles left out of the comparison, as most reviewers call them an artefact: {bad}"
    if read.elsewhere:
        yield f"reviews of projects that were not given, left out: {read.elsewhere}"


def _split(answers: pd.DataFrame, decided: pd.DataFrame, features: Sequence[str]) -> Iterator[str]:
    answered = answers.groupby("tile", sort=True)[list(features)].count()
    split = int(((answered.to_numpy() > 0) & decided[list(features)].isna().to_numpy()).sum())
    if split:
        yield f"answers on features that do not count, as reviewers are split on them: {split}"
