"""Which features reviewers judge in a tile, and by which keys: the paper's four, or a project's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from qupath_hccmil.errors import DataError
from qupath_hccmil.settings_file import read_toml
from qupath_hccmil.tiles_of_interest.cohort_tiles import CohortProject

REVIEWS_FOLDER = "hccmil-reviews"
FEATURES_FILE = "features.toml"
VERDICTS = {"a": "agree", "d": "disagree", "x": "artefact", "c": "cannot say"}
"""Key to verdict."""

TAKEN_KEYS = frozenset({*VERDICTS, "u", "0"})
"""Keys that have another meaning on the gallery page or in QuPath's window."""

TAKEN_NAMES = frozenset({"group", "tile", "unit", "reviewer", "verdict", "blinded"})
"""What no feature may be called: columns of the tables that features are columns of."""


@dataclass(frozen=True)
class ReviewFeature:
    """A feature that is present in a tile or absent.

    Attributes
    ----------
    name : str
    key : str
        One letter or digit, in lower case.
    """

    name: str
    key: str


PUBLISHED_FEATURES = tuple(
    ReviewFeature(name, str(number))
    for number, name in enumerate(
        (
            "Stroma",
            "High cytological atypia",
            "Nuclear hyperchromasia",
            "Immune cell infiltration",
        ),
        start=1,
    )
)
"""Of the paper's table 3 (Liu et al. 2021)."""


def review_features(projects: Sequence[CohortProject]) -> tuple[ReviewFeature, ...]:
    """Read the features of the projects, which must be the same in all.

    Parameters
    ----------
    projects : sequence of CohortProject
        A project without ``hccmil-reviews/features.toml`` has the paper's four.

    Raises
    ------
    DataError
        A file can't be used, or two projects have different features.
    """
    found = [(project, _features(project)) for project in projects]
    first, features = found[0]
    for project, others in found[1:]:
        if others != features:
            raise DataError(
                f"{first.label} and {project.label} have different features to review; give both "
                f"the same {REVIEWS_FOLDER}/{FEATURES_FILE}"
            )
    return features


def _features(project: CohortProject) -> tuple[ReviewFeature, ...]:
    path = project.folder / REVIEWS_FOLDER / FEATURES_FILE
    if not path.exists():
        return PUBLISHED_FEATURES
    content = read_toml(path)
    try:
        return _checked([_feature(each) for each in content["feature"]])
    except KeyError as error:
        raise DataError(f"{path}: lacks {error}; a feature is [[feature]], name, key") from error
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}: {error}; a feature is [[feature]], name, key") from error


def _feature(table: Any) -> ReviewFeature:
    name, key = table["name"], table["key"]
    if not (isinstance(name, str) and name.strip() and isinstance(key, str)):
        raise ValueError(f"name {name!r} and key {key!r} must be texts")
    if len(key) != 1 or not key.isalnum():
        raise ValueError(f"key {key!r} must be one letter or digit")
    return ReviewFeature(name.strip(), key.lower())


def _checked(features: list[ReviewFeature]) -> tuple[ReviewFeature, ...]:
    taken = set(TAKEN_KEYS)
    for feature in features:
        if feature.key in taken:
            raise ValueError(
                f"key {feature.key!r} is taken by another feature or by the review itself "
                f"({', '.join(sorted(TAKEN_KEYS)).upper()}); choose another"
            )
        taken.add(feature.key)
    names = [feature.name.casefold() for feature in features]
    wrong = {name for name in names if names.count(name) > 1} | TAKEN_NAMES & set(names)
    if wrong:
        raise ValueError(f"feature name {sorted(wrong)[0]!r} is taken; choose another")
    if not features:
        raise ValueError("no feature in it")
    return tuple(features)
