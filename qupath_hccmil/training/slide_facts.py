"""What is known of a cohort's slides without any network: tiles, mean colour, scanner, pixels."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from qupath_hccmil.atomic_files import atomic_file
from qupath_hccmil.errors import HccMilError
from qupath_hccmil.features.feature_file import SlideFeatures
from qupath_hccmil.judgement.judged_cohort import SlideFacts
from qupath_hccmil.plain_words import count_of
from qupath_hccmil.slide_sources.outlined_slides import find_slides
from qupath_hccmil.slides.open_slide import Slide
from qupath_hccmil.slides.slide_files import without_suffix
from qupath_hccmil.slides.tissue import TissueRule
from qupath_hccmil.training.prepare_bags import Tiling

THUMBNAIL_PX = 512
FORMAT = "qupath-hccmil slide facts 2"
SAVED_EVERY = 20
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
    kept: Path,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[SlideFacts], list[str]]:
    """Add the mean colour, the scanner and the pixels of the slides, if all can be opened.

    The colour is the mean of the tissue in a thumbnail, before any normalisation, and slides with
    equal thumbnails have equal pixels.

    Parameters
    ----------
    facts : sequence of SlideFacts
    source : Path
        The user's slides; see :func:`~.outlined_slides.find_slides`.
    tiling : Tiling
        How slides are found in a project.
    kept : Path
        JSON file in which what is found is kept, so that each slide is opened once.
    progress : callable, optional
        Called with the number of slides that are done, and that of all.

    Returns
    -------
    facts : list of SlideFacts
        In the order given. If a slide cannot be opened, those given, so that like is compared with
        like.
    told : list of str
        Which slides could not be opened.
    """
    slides = find_slides(
        source, tiling.annotation_classes, engine=tiling.engine, images=tiling.images,
        slides_dir=tiling.slides_dir, patient_key=tiling.patient_key,
    ).slides  # fmt: skip
    by_name = {without_suffix(slide.name): slide for slide in slides}
    known = _read(kept)
    found: list[SlideFacts] = []
    failed: list[str] = []
    for number, one in enumerate(facts, start=1):
        slide = by_name.get(without_suffix(one.slide))
        try:
            if slide is None:
                failed.append(one.slide)
                continue
            stat = slide.path.stat()
            # A file may have several images, and one image may be shown in several ways.
            shown = asdict(slide.entry.server)
            key = json.dumps([str(slide.path.resolve()), stat.st_size, stat.st_mtime_ns, shown])
            if key not in known:
                with slide.open() as opened:
                    known[key] = _of_pixels(opened)
                if number % SAVED_EVERY == 0:
                    _write(kept, known)
            found.append(_with_pixels(one, known[key]))
        except (HccMilError, OSError):
            failed.append(one.slide)
        if progress is not None:
            progress(number, len(facts))
    _write(kept, known)
    if not failed:
        return found, []
    named = ", ".join(failed[:3]) + (f" and {len(failed) - 3} more" if len(failed) > 3 else "")
    return list(facts), [
        f"The mean colour is not compared, because {count_of(len(failed), 'slide')} cannot be "
        f"opened: {named}"
    ]


def _of_pixels(slide: Slide) -> dict[str, Any]:
    """Mean colour of the tissue (None without any), scanner, and a hash of the pixels."""
    thumbnail = slide.thumbnail(THUMBNAIL_PX)
    tissue = thumbnail[TissueRule().mask(thumbnail)]
    digest = hashlib.sha256(np.ascontiguousarray(thumbnail).tobytes())
    digest.update(repr((slide.width, slide.height)).encode())
    colour = tissue.mean(axis=0).tolist() if len(tissue) else None
    return {"colour": colour, "scanner": slide.scanner, "pixels": digest.hexdigest()}


def _with_pixels(one: SlideFacts, known: Mapping[str, Any]) -> SlideFacts:
    colour = None if known["colour"] is None else tuple(known["colour"])
    return replace(one, colour=colour, scanner=known["scanner"], pixels=known["pixels"])


def _read(kept: Path) -> dict[str, dict[str, Any]]:
    try:
        content = json.loads(kept.read_text(encoding="utf-8"))
        return dict(content["slides"]) if content["format"] == FORMAT else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _write(kept: Path, known: Mapping[str, Mapping[str, Any]]) -> None:
    with atomic_file(kept) as new:
        new.write_text(json.dumps({"format": FORMAT, "slides": known}), encoding="utf-8")


def _hash(slide: SlideFeatures) -> str:
    digest = hashlib.sha256(repr((slide.count, slide.width)).encode())
    for start in range(0, slide.count, _CHUNK):
        digest.update(slide.read(slice(start, start + _CHUNK)).tobytes())
    return digest.hexdigest()
