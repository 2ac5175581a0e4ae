"""From a project's image to its pixels, in the coordinates of QuPath's server."""

from __future__ import annotations

from pathlib import Path

from qupath_hccmil.errors import UnsupportedDataError
from qupath_hccmil.project.model import ImageEntry
from qupath_hccmil.slide.reader import Slide, open_slide
