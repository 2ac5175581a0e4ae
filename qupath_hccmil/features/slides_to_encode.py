"""Which slides get features, over several sources, and the name of each one's files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from qupath_hccmil.errors import DataError, HccMilError
from qupath_hccmil.features.feature_folder import file_stems
from qupath_hccmil.slide_sources.outlined_slides import OutlinedSlide, OutlinedSlides

Takes = Callable[[int, int], bool]
"""Whether the slide at a place in a source, both from 0, is to be done here."""


@dataclass
class SlidesToEncode:
    """The slides of several sources.

    Attributes
    ----------
    slides : list of (OutlinedSlide, str)
        With the name of their files without the suffix.
    unusable : list of (str, str)
        Name of a slide that cannot be used, and why.
    wrong : dict of Path to str
        Sources that cannot be used, and why.
    """

    slides: list[tuple[OutlinedSlide, str]] = field(default_factory=list)
    unusable: list[tuple[str, str]] = field(default_factory=list)
    wrong: dict[Path, str] = field(default_factory=dict)


def slides_to_encode(
    sources: Sequence[Path],
    find: Callable[[Path], OutlinedSlides],
    takes: Takes = lambda place, source: True,
) -> SlidesToEncode:
    """Find the slides of sources, in order.

    Names of files and parts follow from each slide's own source alone, so that machines which
    cannot read the same sources agree. Of two slides that would have the same file, the second
    cannot be used, unless it is the first one once more.

    Parameters
    ----------
    sources : sequence of Path
    find : callable
        Finds the slides of a source; it raises `HccMilError`.
    takes : callable

    Raises
    ------
    HccMilError
        The only source cannot be used.
    DataError
        None can be used.
    """
    chosen = SlidesToEncode()
    taken: dict[str, tuple[OutlinedSlide, Path]] = {}
    for number, source in enumerate(sources):
        try:
            found = find(source)
        except HccMilError as error:
            if len(sources) == 1:
                raise
            chosen.wrong[source] = str(error)
            continue
        mine = _names_taken(found, number, takes)
        for left_out in found.left_out:
            if left_out.name in mine:
                chosen.unusable.append((left_out.name, left_out.detail or left_out.reason))
        stems = _stems(found)
        for slide in found.slides:
            stem = stems[slide.entry.id]
            first, other = taken.setdefault(stem.lower(), (slide, source))
            if first is not slide and _is_same(first, slide):
                continue
            if slide.name not in mine:
                continue
            if first is slide:
                chosen.slides.append((slide, stem))
            else:
                reason = (
                    f"{source}: has a slide for {stem}.h5, as has {other}; give one of them "
                    "another --out"
                )
                chosen.unusable.append((slide.name, reason))
    if len(chosen.wrong) == len(sources):
        raise DataError("; ".join(chosen.wrong.values()))
    return chosen


def _stems(found: OutlinedSlides) -> Mapping[str, str]:
    return file_stems(
        [
            *((slide.entry.id, slide.name) for slide in found.slides),
            *((f"left out {number}", each.name) for number, each in enumerate(found.left_out)),
        ]
    )


def _names_taken(found: OutlinedSlides, number: int, takes: Takes) -> set[str]:
    """Names of a source's slides that are to be done here.

    By name, so that machines which do not find the same slides agree.
    """
    names = {slide.name for slide in found.slides} | {each.name for each in found.left_out}
    return {name for place, name in enumerate(sorted(names)) if takes(place, number)}


def _is_same(one: OutlinedSlide, other: OutlinedSlide) -> bool:
    return one.path.resolve() == other.path.resolve() and one.identity == other.identity
