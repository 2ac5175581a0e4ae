"""Where the results of a run go: into the project itself, or to another place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from qupath_hccmil.qupath import names
from qupath_hccmil.qupath.data_types import Annotation, ImageResults, ImageState
from qupath_hccmil.qupath.project_folder import Project
from qupath_hccmil.scoring.score_settings import ScoreSettings


@dataclass(frozen=True)
class SlideRequest:
    """One slide to score: with the model, all that its results follow from.

    Attributes
    ----------
    state : ImageState
        The image as it was read.
    annotations : sequence of Annotation
        Its tumour outlines.
    settings : ScoreSettings
    slide : Path
        The slide's file, where it is now.
    """

    state: ImageState
    annotations: Sequence[Annotation]
    settings: ScoreSettings
    slide: Path


class Destination(Protocol):
    """Takes the results of each slide."""

    def holds(self, request: SlideRequest) -> bool:
        """Whether the results of this very request are there already."""
        ...

    def keep(self, request: SlideRequest, results: ImageResults) -> None:
        """Keep the results of a slide."""
        ...


class IntoProject:
    """Writes results into the project that they are of.

    Parameters
    ----------
    project : Project
        Open.
    """

    def __init__(self, project: Project) -> None:
        self._project = project
        self._classes_listed = False

    def holds(self, request: SlideRequest) -> bool:
        """Return False: what is up to date is found by ``--resume``, before the slide is."""
        return False

    def keep(self, request: SlideRequest, results: ImageResults) -> None:
        """Write the results, and list the classes of our tiles in the project."""
        self.list_classes()
        self._project.write(request.state.entry, results, request.state.stamp)

    def list_classes(self) -> bool:
        """List the classes of our tiles in the project, once; whether one was missing."""
        missing = not self._classes_listed and self._project.add_classes(names.CLASS_COLOURS)
        self._classes_listed = True
        return missing
