"""Every name that is written into QuPath, in one place.

A measurement map in QuPath spans every object that has the name, so tile names and annotation
names differ. A class name with a colon would make a derived class, so ours have none.
"""

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

CLASS_HIGH = f"{PREFIX} high risk"
CLASS_LOW = f"{PREFIX} low risk"
CLASS_COLOURS = {CLASS_HIGH: 0xC8321E, CLASS_LOW: 0x2D6EB4}

META_RISK = f"{PREFIX} risk score"
META_LOGIT = f"{PREFIX} risk logit"
META_GROUP = f"{PREFIX} risk group"
META_TILES = f"{PREFIX} tiles"
META_MODEL = f"{PREFIX} model"
META_POWER = f"{PREFIX} p"
META_THRESHOLD = f"{PREFIX} threshold"
META_WEIGHTS = f"{PREFIX} weights sha256"
META_VERSION = f"{PREFIX} version"
META_TIME = f"{PREFIX} time"
META_MPP = f"{PREFIX} mpp"
META_SETTINGS = f"{PREFIX} settings sha256"
META_FINGERPRINT = f"{PREFIX} annotation fingerprint"

STEP_NAME = f"{PREFIX} risk scoring"

# parameters of that step which are read again
STEP_STAIN = "stain"
STEP_OUTLINES = "outlines"


def is_ours(name: str | None) -> bool:
    """Whether a measurement, class, metadata key or workflow step is this project's.

    Examples
    --------
    >>> is_ours("HCC-MIL: Risk score"), is_ours("HCC-MIL high risk"), is_ours("HCC-MILD")
    (True, True, False)
    """
    return name is not None and name.startswith((f"{PREFIX}: ", f"{PREFIX} "))
