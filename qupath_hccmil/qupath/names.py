"""All names that are written into QuPath.

A measurement map in QuPath shows every object with the measurement, so tiles and annotations have
different names. A class name with a colon would make a derived class, so ours have none.
"""

from collections.abc import Mapping

PREFIX = "HCC-MIL"

ANNOTATION_RISK = f"{PREFIX}: Risk score"
ANNOTATION_LOGIT = f"{PREFIX}: Risk logit"
ANNOTATION_TILES = f"{PREFIX}: Tiles"
ANNOTATION_HIGH_FRACTION = f"{PREFIX}: High-risk tile fraction"
ANNOTATION_NUCLEI_FRACTION = f"{PREFIX}: Nuclei fraction"
ANNOTATION_VALUES = frozenset(
    {
        ANNOTATION_RISK,
        ANNOTATION_LOGIT,
        ANNOTATION_TILES,
        ANNOTATION_HIGH_FRACTION,
        ANNOTATION_NUCLEI_FRACTION,
    }
)

TILE_RISK = f"{PREFIX}: Tile risk"
TILE_LOGIT = f"{PREFIX}: Tile logit"
TILE_CONTRIBUTION = f"{PREFIX}: Tile contribution"
TILE_NUCLEI_FRACTION = f"{PREFIX}: Tile nuclei fraction"

SLIDE_RISK = f"{PREFIX}: Slide risk score"
SLIDE_LOGIT = f"{PREFIX}: Slide risk logit"
SLIDE_TILES = f"{PREFIX}: Slide tiles"

TILE_VALUES = frozenset({TILE_RISK, TILE_LOGIT, TILE_CONTRIBUTION, TILE_NUCLEI_FRACTION})
SLIDE_VALUES = frozenset({SLIDE_RISK, SLIDE_LOGIT, SLIDE_TILES})
MEASUREMENTS = ANNOTATION_VALUES | TILE_VALUES | SLIDE_VALUES
"""All measurements that our runs may write; others with the same prefix belong to the user."""

# Classes that QuPath shows in a project without its own list of classes, with their colours.
DEFAULT_CLASSES = {
    "Tumor": 0xC80000,
    "Stroma": 0x96C896,
    "Immune cells": 0xA05AA0,
    "Necrosis": 0x323232,
    "Other": 0xFFC800,
    "Region*": 0x0000B4,
    "Ignore*": 0xB4B4B4,
    "Positive": 0xFA3E3E,
    "Negative": 0x7070E1,
}

CLASS_HIGH = f"{PREFIX} high risk"
CLASS_LOW = f"{PREFIX} low risk"
CLASS_COLOURS = {CLASS_HIGH: 0xE69F00, CLASS_LOW: 0x009E73}
"""Okabe and Ito's amber and bluish green: clear on H&E and next to the red of *Tumor*, and told
apart with the common kinds of colour blindness."""

# Those of earlier versions: red and blue, of which red was nearly that of *Tumor*.
_FORMER_COLOURS = {CLASS_HIGH: 0xC8321E, CLASS_LOW: 0x2D6EB4}

META_RISK = f"{PREFIX} risk score"
META_GROUP = f"{PREFIX} risk group"
META_TILES = f"{PREFIX} tiles"
META_MODEL = f"{PREFIX} model"
LISTED = frozenset({META_RISK, META_GROUP, META_TILES, META_MODEL})
"""Metadata of an entry in the project's list, few and short for QuPath's tooltip."""

# Metadata that earlier versions also wrote there; our runs remove them.
_LISTED_BEFORE = frozenset(
    f"{PREFIX} {name}"
    for name in (
        "risk logit",
        "p",
        "threshold",
        "weights sha256",
        "version",
        "time",
        "mpp",
        "settings sha256",
        "annotation fingerprint",
    )
)
METADATA = LISTED | _LISTED_BEFORE

STEP_NAME = f"{PREFIX} risk scoring"

STEP_RECORD = "record"
"""Parameter of this step with the record of the run as JSON."""

# Parameters by which the step of an earlier version is recognised.
_STEP_KEYS = (STEP_RECORD, "outlines", "stain")


def is_our_measurement(name: str) -> bool:
    """Whether our runs write a measurement with exactly this name.

    Examples
    --------
    >>> is_our_measurement("HCC-MIL: Risk score"), is_our_measurement("HCC-MIL: my note")
    (True, False)
    """
    return name in MEASUREMENTS


def is_our_class(name: str | None) -> bool:
    """Whether our runs give tiles a class with exactly this name."""
    return name in CLASS_COLOURS


def has_former_colour(name: str | None, colour: object) -> bool:
    """Whether a class of ours still has the colour that an earlier version gave it.

    Such a colour may be replaced, since nobody chose it; any other is the user's.

    Parameters
    ----------
    name : str or None
    colour : object
        As QuPath's files have it: packed RGB with or without alpha, signed or not. What is no
        number is nobody's former colour.

    Examples
    --------
    >>> has_former_colour(CLASS_HIGH, 0xC8321E), has_former_colour(CLASS_HIGH, 0x123456)
    (True, False)
    """
    former = _FORMER_COLOURS.get(name or "")
    return former is not None and isinstance(colour, int) and colour & 0xFFFFFF == former


def is_our_metadata(key: str) -> bool:
    """Whether our runs write metadata with exactly this key into the project's list."""
    return key in METADATA


def is_our_step(name: str | None, parameters: Mapping[str, str]) -> bool:
    """Whether a step of an image's history is ours, by its name and parameters."""
    return name == STEP_NAME and any(key in parameters for key in _STEP_KEYS)
