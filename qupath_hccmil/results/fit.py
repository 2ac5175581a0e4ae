"""Whether a result is that of an image as it is now, and the result in the image's own terms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

from qupath_hccmil.qupath import names
from qupath_hccmil.qupath.data_types import ImageEntry, ImageResults, ImageState
from qupath_hccmil.qupath.fingerprint import annotation_fingerprint, outline_fingerprint
from qupath_hccmil.qupath.outline_matching import Outline, OutlineMatch, match_outlines
from qupath_hccmil.qupath.run_record import RunRecord
from qupath_hccmil.qupath.staleness import outlines_of
from qupath_hccmil.results.dependencies import server_facts
from qupath_hccmil.results.result_file import ResultHead
from qupath_hccmil.results.slide_stamp import slide_stamp

T = TypeVar("T")


def why_not_of_image(head: ResultHead, entry: ImageEntry) -> str:
    """Why a result is not of an image and its slide; empty where it is."""
    noted = head.depends_on
    if noted.entry["name"] != entry.name or noted.entry["id"] != entry.id:
        return f"it is of the image {noted.entry['name']}"
    now = server_facts(entry.server)
    different = [key for key in now if noted.server.get(key) != now[key]]
    if different:
        key = different[0]
        return f"it is of another slide: {key} {noted.server.get(key)!r}, not {now[key]!r}"
    return _why_not_the_file(head)


def why_not_of_outlines(head: ResultHead, state: ImageState) -> str:
    """Why a result is not of an image's outlines; empty where it is."""
    present = outlines_of(state, head.depends_on.settings["annotation_classes"])
    if annotation_fingerprint(present) == head.depends_on.outlines:
        return ""
    match = _match(head, state)
    counts = [
        f"{len(places)} {word}"
        for word, places in (
            ("edited", match.edited),
            ("added", match.added),
            ("deleted", match.deleted),
        )
        if places
    ]
    return f"outlines were changed since it was scored: {', '.join(counts)}"


def in_terms_of(results: ImageResults, head: ResultHead, state: ImageState) -> ImageResults:
    """Results with the places that the outlines have in the image now.

    They move where other annotations were added, deleted or put into another order. Where none
    moved, the results are returned as they are.

    Parameters
    ----------
    results : ImageResults
    head : ResultHead
        Of a result that fits the image's outlines.
    state : ImageState
    """
    present = outlines_of(state, head.depends_on.settings["annotation_classes"])
    then = list(head.outlines)
    places = {
        then[place]: present[now].index for now, place in _match(head, state).unchanged.items()
    }
    if all(before == after for before, after in places.items()):
        return results
    record = head.record
    outlines = [replace(each, index=places[each.index]) for each in record.outlines]
    moved = replace(record, outlines=tuple(sorted(outlines, key=lambda each: each.index)))
    assert results.step is not None
    parameters = {**results.step.parameters, names.STEP_RECORD: moved.to_parameter()}
    return replace(
        results,
        annotations=_moved(results.annotations, places),
        tiles=_moved(results.tiles, places),
        step=replace(results.step, parameters=parameters),
    )


def same_run(one: RunRecord, other: RunRecord) -> bool:
    """Whether two records are of one run on one image, wherever its outlines are by now."""

    def told_apart_by(record: RunRecord) -> dict[str, Any]:
        return asdict(replace(record, outlines=()))

    return told_apart_by(one) == told_apart_by(other)


def _match(head: ResultHead, state: ImageState) -> OutlineMatch:
    present = outlines_of(state, head.depends_on.settings["annotation_classes"])
    return match_outlines(
        list(head.outlines.values()),
        [Outline(each.id, outline_fingerprint(each)) for each in present],
    )


def _moved(mapping: Mapping[int, T], places: Mapping[int, int]) -> dict[int, T]:
    """The same values by the new places, in the order of these."""
    return {places[key]: mapping[key] for key in sorted(mapping, key=lambda key: places[key])}


def _why_not_the_file(head: ResultHead) -> str:
    """Why the slide's file is another than was read; empty where it is not to be had here."""
    try:
        now = asdict(slide_stamp(Path(head.slide)))
    except OSError:
        return ""
    return "" if now == head.depends_on.slide else f"{head.slide} was changed since it was scored"


def one_of(heads: Sequence[ResultHead]) -> ResultHead | None:
    """The newest of several results of one image, if they are of one model and settings.

    Returns
    -------
    ResultHead or None
        None where the results are of several models or settings, so that one is to be chosen.
    """
    kinds = {
        (each.depends_on.model, repr(sorted(each.depends_on.settings.items()))) for each in heads
    }
    return max(heads, key=lambda each: each.record.time) if len(kinds) == 1 else None
