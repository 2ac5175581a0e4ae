"""What one run says of itself, kept in the image's data with the results.

The record is the truth about the results in an image: which outlines were looked at, with which
settings, by which model, and what came out. The project's list holds a few short copies of it for
QuPath's window; where the list says something else, the record is right.
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
    """One outline as it was scored.

    Attributes
    ----------
    index : int
        Place among the image's annotations, depth first in QuPath's order, when it was scored.
    id : str
        UUID in QuPath; several outlines may share one.
    fingerprint : str
        Of class and geometry, 16 hexadecimal digits.
    tiles : int
        Tiles that were written for it; 0 where none shows tissue in focus.
    background, blurred : int
        Tiles that were left out for that reason.
    left : int
        Tiles that were scored and not written, since the user has made them theirs.
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
    """One run on one image.

    Attributes
    ----------
    risk : float
        Risk of the slide, [0, 1].
    logit : float
        Logit S of the slide.
    group : str
        ``high`` or ``low``.
    tiles : int
        Scored tiles of the slide, each once.
    p, threshold : float
        Numbers of the model's rule.
    model : str
    surrogate : bool
        The model was trained on simulated labels.
    weights_sha256, settings_sha256 : str
    version : str
        Version of this program.
    time : str
        ISO 8601, UTC.
    mpp : float
        µm per level-0 px.
    mpp_source : str
        Where that is from.
    fingerprint : str
        Of all outlines that were looked at.
    settings : mapping of str to Any
        The run's selection: ``annotation_classes``, ``mpp``, ``min_inside``, ``max_tiles``,
        ``seed``, ``stain``.
    outlines : tuple of OutlineRecord
    stain : mapping of str to Any
        The slide's stain fit; or versions of the packages that fitted each tile.
    background, blurred : int
        Tiles of the slide that were left out.
    measurements : tuple of str
        Names of all measurements that the run wrote: what is ours among those of an object.
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
        """JSON for the workflow step."""
        return json.dumps({"format": FORMAT, **asdict(self)}, ensure_ascii=False)

    @classmethod
    def of_step(cls, step: WorkflowStep | None) -> RunRecord | None:
        """The record in a step of ours; None where there is none that can be read."""
        return (
            None if step is None else cls.from_parameter(step.parameters.get(names.STEP_RECORD, ""))
        )

    @classmethod
    def from_parameter(cls, text: str) -> RunRecord | None:
        """Read the record; None where it is damaged or of a newer format."""
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
    """Metadata for the project's list: short copies of what the record holds."""
    return {
        names.META_RISK: f"{record.risk:.4f}",
        names.META_GROUP: record.group,
        names.META_TILES: str(record.tiles),
        names.META_MODEL: record.model,
    }


def with_tiles_left(step: WorkflowStep | None, left: Mapping[int, int]) -> WorkflowStep | None:
    """The step with a record that says how many tiles of each outline were left to the user.

    Parameters
    ----------
    step : WorkflowStep or None
    left : mapping of int to int
        Place of the annotation to a number of tiles.
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
