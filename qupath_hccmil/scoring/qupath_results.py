"""Turns the score of a slide into the results that are written into QuPath (DESIGN §5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any

import numpy as np

from qupath_hccmil import __version__
from qupath_hccmil.method.aggregation import is_high_risk
from qupath_hccmil.qupath import names
from qupath_hccmil.qupath.data_types import Annotation, ImageEntry, ImageResults, TileObjects
from qupath_hccmil.qupath.fingerprint import annotation_fingerprint, outline_fingerprint
from qupath_hccmil.qupath.run_record import OutlineRecord, RunRecord, listed_metadata
from qupath_hccmil.scoring.score_settings import ScoreSettings
from qupath_hccmil.scoring.score_slide import AnnotationScore, SlideScore
from qupath_hccmil.scoring.scorer import Scorer
from qupath_hccmil.scoring.workflow_step import scoring_step
from qupath_hccmil.stain.staintools_normalizer import identity


def image_results(
    entry: ImageEntry,
    annotations: Sequence[Annotation],
    score: SlideScore,
    scorer: Scorer,
    settings: ScoreSettings,
    reproduce: Sequence[str] = (),
) -> ImageResults:
    """Make the measurements, tiles, metadata and workflow step for a score.

    Parameters
    ----------
    entry : ImageEntry
    annotations : sequence of Annotation
        All tumour outlines that were considered, scored or not.
    score : SlideScore
    scorer : Scorer
    settings : ScoreSettings
    reproduce : sequence of str
        Command-line options for the script in the workflow step.
    """
    record = _record(entry, annotations, score, scorer, settings)
    return ImageResults(
        annotations={key: _annotation(mine) for key, mine in score.annotations.items()},
        tiles={key: _tiles(score, mine, scorer) for key, mine in score.annotations.items()},
        root={
            names.SLIDE_RISK: score.risk,
            names.SLIDE_LOGIT: score.logit,
            names.SLIDE_TILES: float(len(score.tiles)),
        },
        metadata=listed_metadata(record),
        step=scoring_step(record, reproduce, _step_parameters(record, scorer)),
    )


def _record(
    entry: ImageEntry,
    annotations: Sequence[Annotation],
    score: SlideScore,
    scorer: Scorer,
    settings: ScoreSettings,
) -> RunRecord:
    return RunRecord(
        risk=score.risk,
        logit=score.logit,
        group=score.group,
        tiles=len(score.tiles),
        p=scorer.p,
        threshold=scorer.threshold,
        model=scorer.name,
        surrogate=scorer.surrogate,
        weights_sha256=scorer.weights_sha256,
        settings_sha256=settings.fingerprint(scorer.identity, entry.server),
        version=__version__,
        time=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        mpp=score.resolution.mpp,
        mpp_source=score.resolution.source,
        fingerprint=annotation_fingerprint(annotations),
        settings=asdict(settings),
        outlines=tuple(_outline(each, score) for each in annotations),
        stain=_stain(score, scorer),
        background=score.background,
        blurred=score.blurred,
        measurements=tuple(sorted(names.MEASUREMENTS)),
    )


def _stain(score: SlideScore, scorer: Scorer) -> dict[str, Any]:
    if scorer.stain_target is None:
        return {"method": "none"}
    return identity() if score.stain is None else score.stain.to_dict()


def _outline(annotation: Annotation, score: SlideScore) -> OutlineRecord:
    scored = score.annotations.get(annotation.index)
    background, blurred = score.left_out[annotation.index]
    return OutlineRecord(
        index=annotation.index,
        id=annotation.id,
        fingerprint=outline_fingerprint(annotation),
        tiles=0 if scored is None else len(scored.rows),
        background=background,
        blurred=blurred,
    )


def _step_parameters(record: RunRecord, scorer: Scorer) -> dict[str, str]:
    """Parameters that QuPath shows next to the step, and the record that we read again."""
    shown = {key: str(value) for key, value in scorer.facts.items()}
    return {**shown, "mpp": repr(record.mpp), names.STEP_RECORD: record.to_parameter()}


def _annotation(score: AnnotationScore) -> dict[str, float]:
    values = {
        names.ANNOTATION_RISK: score.risk,
        names.ANNOTATION_LOGIT: score.logit,
        names.ANNOTATION_TILES: float(len(score.rows)),
        names.ANNOTATION_HIGH_FRACTION: score.high_fraction,
    }
    if not np.isnan(score.nuclei_fraction):
        values[names.ANNOTATION_NUCLEI_FRACTION] = score.nuclei_fraction
    return values


def _tiles(score: SlideScore, annotation: AnnotationScore, scorer: Scorer) -> TileObjects:
    tiles = score.tiles
    rows = annotation.rows
    high = is_high_risk(tiles.risk[rows], scorer.threshold)
    nuclei = tiles.nuclei_fraction[rows]
    return TileObjects(
        bounds=tiles.bounds[rows],
        class_names=np.where(high, names.CLASS_HIGH, names.CLASS_LOW).tolist(),
        measurements={
            names.TILE_RISK: tiles.risk[rows],
            names.TILE_LOGIT: tiles.logit[rows],
            names.TILE_CONTRIBUTION: tiles.contribution[rows],
        }
        | ({} if np.isnan(nuclei).all() else {names.TILE_NUCLEI_FRACTION: nuclei}),
    )
