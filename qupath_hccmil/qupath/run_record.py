"""The record of a run, stored in the image's data with the results.

The record is authoritative for the results in an image: which outlines were scored, with which
settings and which model, and the result. The project's list has a few short copies of it for
QuPath's window; if they differ, the record is right.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from qupath_hccmil.qupath import names
from qupath_hccmil.qupath.data_types import WorkflowStep

FORMAT = 1


@dataclass(frozen=True)
class OutlineRecord:
    """The record of one outline.

    Attributes
    ----------
    index : int
        Number among the image's annotations, depth first in QuPath's order, when it was scored.
    id : str
        UUID in QuPath; several outlines may share one.
    fingerprint : str
        Fingerprint of class and geometry, 16 hexadecimal digits.
    tiles : int
        Number of tiles that were written for it; 0 if none shows tissue in focus.
    background, blurred : int
        Number of tiles that were left out for that reason.
    left : int
        Number of tiles that were scored but not written, because they belong to the user by now.
    """

    index: int
    id: str
    fingerprint: str
    tiles: int
    background: int
    blurred: int
    left: int = 0


@dataclass(frozen=True)
class RunRecord:
    """The record of one run on one image.

    Attributes
    ----------
    risk : float
        Risk of the slide, [0, 1].
    logit : float
        Logit S of the slide.
    group : str
        ``high`` or ``low``.
    tiles : int
        Number of scored tiles of the slide, each counted once.
    p, threshold : float
        Exponent and threshold of the model.
    model : str
    surrogate : bool
        Whether the model was trained on simulated labels.
    weights_sha256, settings_sha256 : str
    version : str
        Version of this program.
    time : str
        ISO 8601, UTC.
    mpp : float
        µm per level-0 px.
    mpp_source : str
        Source of the pixel size.
    fingerprint : str
        Fingerprint of all outlines that were considered.
    settings : mapping of str to Any
        The run's selection: ``annotation_classes``, ``mpp``, ``min_inside``, ``max_tiles``,
        ``seed``, ``stain``.
    outlines : tuple of OutlineRecord
    stain : mapping of str to Any
        The slide's stain fit; or versions of the packages that fitted each tile.
    background, blurred : int
        Number of tiles of the slide that were left out for that reason.
    measurements : tuple of str
        Names of all measurements that the run wrote, which identify ours in an object.
    """

    risk: float
    logit: float
    group: str
    tiles: int
    p: float
    threshold: float
    model: str
    surrogate: bool
    weights_sha256: str
    settings_sha256: str
    version: str
    time: str
    mpp: float
    mpp_source: str
    fingerprint: str
    settings: Mapping[str, Any]
    outlines: tuple[OutlineRecord, ...]
    stain: Mapping[str, Any]
    background: int
    blurred: int
    measurements: tuple[str, ...] = field(default=())

    @property
    def annotation_classes(self) -> Sequence[str]:
        """Classes of tumour outlines that the run looked for."""
        return tuple(self.settings["annotation_classes"])

    def to_parameter(self) -> str:
        """Return JSON for the workflow step."""
        return json.dumps({"format": FORMAT, **asdict(self)}, ensure_ascii=False)

    @classmethod
    def of_step(cls, step: WorkflowStep | None) -> RunRecord | None:
        """Return the record in a step of ours; None if there is none that can be read."""
        return (
            None if step is None else cls.from_parameter(step.parameters.get(names.STEP_RECORD, ""))
        )

    @classmethod
    def from_parameter(cls, text: str) -> RunRecord | None:
        """Read the record; None if it is damaged or has a newer format."""
        try:
            content = json.loads(text)
            if content.pop("format") != FORMAT:
                return None
            outlines = tuple(OutlineRecord(**each) for each in content.pop("outlines"))
            names = tuple(content.pop("measurements"))
            return cls(outlines=outlines, measurements=names, **content)
        except (ValueError, TypeError, KeyError, AttributeError):
            return None


def listed_metadata(record: RunRecord) -> dict[str, str]:
    """Metadata for the project's list: short copies of values in the record."""
    return {
        names.META_RISK: f"{record.risk:.4f}",
        names.META_GROUP: record.group,
        names.META_TILES: str(record.tiles),
        names.META_MODEL: record.model,
    }


def with_tiles_left(step: WorkflowStep | None, left: Mapping[int, int]) -> WorkflowStep | None:
    """Return the step with the numbers of tiles left to the user added to its record.

    Parameters
    ----------
    step : WorkflowStep or None
    left : mapping of int to int
        For each index of an annotation, the number of tiles.
    """
    record = RunRecord.of_step(step)
    if step is None or record is None or not any(left.values()):
        return step
    outlines = tuple(
        replace(each, tiles=each.tiles - left.get(each.index, 0), left=left.get(each.index, 0))
        for each in record.outlines
    )
    changed = replace(record, outlines=outlines).to_parameter()
    return replace(step, parameters={**step.parameters, names.STEP_RECORD: changed})
