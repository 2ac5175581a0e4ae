"""Risk of recurrence of hepatocellular carcinoma, scored inside QuPath projects.

For research use only. The method is MobileNetV2_HCC_Class (Liu et al., arXiv 2106.00090).

>>> import qupath_hccmil as hm
>>> hm.score_project("path/to/project")  # doctest: +SKIP
"""

from qupath_hccmil.api import (
    create_project,
    fit_stain,
    make_demo_project,
    open_project,
    open_slide,
    score_project,
    score_slide,
    survival_report,
    tile_gallery,
    tile_reviews,
    tile_scores,
)

__version__ = "0.2.0"

__all__ = [
    "create_project",
    "fit_stain",
    "make_demo_project",
    "open_project",
    "open_slide",
    "score_project",
    "score_slide",
    "survival_report",
    "tile_gallery",
    "tile_reviews",
    "tile_scores",
]
