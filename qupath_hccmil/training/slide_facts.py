"""What is known of a cohort's slides without any network: tiles, mean colour, scanner, pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePath

import numpy as np

from qupath_hccmil.errors import HccMilError
from qupath_hccmil.features.feature_file import SlideFeatures
from qupath_hccmil.judgement.judged_cohort import SlideFacts
from qupath_hccmil.slide_sources.outlined_slides import find_slides
from qupath_hccmil.slides.open_slide import Slide
from qupath_hccmil.slides.slide_files import SUFFIXES
from qupath_hccmil.slides.tissue import TissueRule
from qupath_hccmil.training.prepare_bags import Tiling

THUMBNAIL_PX = 512
_CHUNK = 4096


def facts_of_features(patients: Mapping[str, Sequence[SlideFeatures]]) -> list[SlideFacts]:
    """Describe slides by their features alone.

    Equal features mean equal pixels, because a frozen encoder gives the same for the same.

    Parameters
    ----------
    patients : mapping of str to sequence of SlideFeatures
    """
    return [
        SlideFacts(patient, slide.slide, slide.count, pixels=f"features {_hash(slide)}")
        for patient, slides in sorted(patients.items())
        for slide in slides
    ]


def facts_of_slides(
    facts: Sequence[SlideFacts],
    source: Path,
    tiling: Tiling,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[SlideFacts], list[str]]:
    """Add the mean colour, the scanner and the pixels of those slides that can be opened.

    The colour is the mean of the tissue in a thumbnail, before any normalisation, and slides with
    equal thumbnails have equal pixels.

    Parameters
    ----------
    facts : sequence of SlideFacts
    source : Path
        The user's slides; see :func:`~.outlined_slides.find_slides`.
    tiling : Tiling
        How slides are found in a project.
    progress : callable, optional
        Called with the number of slides that are done, and that of all.

    Returns
    -------
    facts : list of SlideFacts
        Those given, in their order. If a slide cannot be opened, what its features say is kept for
        all slides, so that like is compared with like.
    told : list of str
        Which slides could not be opened.
    """
    slides = find_slides(
        source, tiling.annotation_classes, engine=tiling.engine, images=tiling.images,
        slides_dir=tiling.slides_dir, patient_key=tiling.patient_key,
    ).slides  # fmt: skip
    by_name = {_plain(slide.name): slide for slide in slides}
    found: list[SlideFacts] = []
    failed: list[str] = []
    for number, one in enumerate(facts, start=1):
        slide = by_name.get(_plain(one.slide))
        try:
            if slide is None:
                failed.append(one.slide)
                continue
            with slide.open() as opened:
                colour, pixels = _of_pixels(opened)
                found.append(replace(one, colour=colour, scanner=opened.scanner, pixels=pixels))
        except (HccMilError, OSError):
            failed.append(one.slide)
        if progress is not None:
            progress(number, len(facts))
    if not failed:
        return found, []
    named = ", ".join(failed[:3]) + (f" and {len(failed) - 3} more" if len(failed) > 3 else "")
    return list(facts), [
        f"The mean colour is not compared, because {len(failed)} slide(s) cannot be opened: {named}"
    ]


def _of_pixels(slide: Slide) -> tuple[tuple[float, float, float] | None, str]:
    thumbnail = slide.thumbnail(THUMBNAIL_PX)
    tissue = thumbnail[TissueRule().mask(thumbnail)]
    digest = hashlib.sha256(np.ascontiguousarray(thumbnail).tobytes())
    digest.update(repr((slide.width, slide.height)).encode())
    if not len(tissue):
        return None, digest.hexdigest()
    red, green, blue = tissue.mean(axis=0).tolist()
    return (red, green, blue), digest.hexdigest()


def _hash(slide: SlideFeatures) -> str:
    digest = hashlib.sha256(repr((slide.count, slide.width)).encode())
    for start in range(0, slide.count, _CHUNK):
        digest.update(slide.read(slice(start, start + _CHUNK)).tobytes())
    return digest.hexdigest()


def _plain(name: str) -> str:
    """Name of a slide without the suffix of its file."""
    path = PurePath(name)
    return path.stem if path.suffix.lower() in SUFFIXES else path.name
