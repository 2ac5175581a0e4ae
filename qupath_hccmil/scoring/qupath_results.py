"""A slide's score as what is written into QuPath (DESIGN §5)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timezone

import numpy as np

from qupath_hccmil import __version__
from qupath_hccmil.qupath import names
from qupath_hccmil.qupath.data_types import Annotation, ImageEntry, ImageResults, TileObjects
from qupath_hccmil.qupath.fingerprint import annotation_fingerprint, outline_fingerprints
from qupath_hccmil.scoring.score_slide import AnnotationScore, SlideScore
from qupath_hccmil.scoring.scorer import Scorer
from qupath_hccmil.scoring.workflow_step import scoring_step
from qupath_hccmil.tiles.tile_settings import ScoreSettings


def image_results(
    entry: ImageEntry,
    annotations: Sequence[Annotation],
    score: SlideScore,
    scorer: Scorer,
    settings: ScoreSettings,
    reproduce: Sequence[str] = (),
) -> ImageResults:
    """Measurements, tiles, metadata and workflow step of a score.

    Parameters
    ----------
    entry : ImageEntry
    annotations : sequence of Annotation
        All tumour outlines that were looked at, scored or not.
    score : SlideScore
    scorer : Scorer
    settings : ScoreSettings
    reproduce : sequence of str
        Command-line options for the workflow step.
    """
    metadata = {
        names.META_RISK: repr(score.risk),
        names.META_LOGIT: repr(score.logit),
        names.META_GROUP: score.group,
        names.META_TILES: str(len(score.tiles)),
        names.META_MODEL: scorer.name,
        names.META_POWER: repr(scorer.p),
        names.META_THRESHOLD: repr(scorer.threshold),
        names.META_WEIGHTS: scorer.weights_sha256,
        names.META_VERSION: __version__,
        names.META_TIME: datetime.now(timezone.utc).isoformat(timespec="seconds"),
        names.META_MPP: f"{score.resolution.mpp!r} ({score.resolution.source})",
        names.META_SETTINGS: settings.fingerprint(scorer.identity, entry.server),
        names.META_FINGERPRINT: annotation_fingerprint(annotations),
    }
    return ImageResults(
        annotations={key: _annotation(mine) for key, mine in score.annotations.items()},
        tiles={key: _tiles(score, mine, scorer) for key, mine in score.annotations.items()},
        root={
            names.SLIDE_RISK: score.risk,
            names.SLIDE_LOGIT: score.logit,
            names.SLIDE_TILES: float(len(score.tiles)),
        },
        metadata=metadata,
        step=scoring_step(entry.name, reproduce, _step_parameters(annotations, score, scorer)),
    )


def _step_parameters(
    annotations: Sequence[Annotation], score: SlideScore, scorer: Scorer
) -> dict[str, str]:
    outlines = {
        key: (fingerprint, *score.left_out[key])
        for key, fingerprint in outline_fingerprints(annotations).items()
    }
    return {key: str(value) for key, value in scorer.facts.items()} | {
        "mpp": repr(score.resolution.mpp),
        "mpp_source": score.resolution.source,
        names.STEP_STAIN: json.dumps(score.stain.to_dict()),
        names.STEP_OUTLINES: json.dumps(outlines),
        "background_tiles": str(score.background),
        "blurred_tiles": str(score.blurred),
    }


def _annotation(score: AnnotationScore) -> dict[str, float]:
    return {
        names.ANNOTATION_RISK: score.risk,
        names.ANNOTATION_LOGIT: score.logit,
        names.ANNOTATION_TILES: float(len(score.rows)),
        names.ANNOTATION_HIGH_FRACTION: score.high_fraction,
        names.ANNOTATION_NUCLEI_FRACTION: score.nuclei_fraction,
    }


def _tiles(score: SlideScore, annotation: AnnotationScore, scorer: Scorer) -> TileObjects:
    tiles = score.tiles
    rows = annotation.rows
    high = tiles.risk[rows] > scorer.threshold
    return TileObjects(
        bounds=tiles.bounds[rows],
        class_names=np.where(high, names.CLASS_HIGH, names.CLASS_LOW).tolist(),
        measurements={
            names.TILE_RISK: tiles.risk[rows],
            names.TILE_LOGIT: tiles.logit[rows],
            names.TILE_CONTRIBUTION: tiles.contribution[rows],
            names.TILE_NUCLEI_FRACTION: tiles.nuclei_fraction[rows],
        },
    )
