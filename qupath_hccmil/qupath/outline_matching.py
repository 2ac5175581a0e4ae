"""Matches present outlines with recorded ones, even if several share a UUID."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Outline(NamedTuple):
    """The identity of an outline: its UUID, and the fingerprint of its class and shape."""

    id: str
    fingerprint: str


@dataclass(frozen=True)
class OutlineMatch:
    """Indices of outlines in the two lists.

    Attributes
    ----------
    unchanged : dict of int to int
        Place now to place then, of those with the same shape and class.
    edited : dict of int to int
        The same for outlines with the same UUID but another shape or class.
    added : tuple of int
        Present indices of new outlines.
    deleted : tuple of int
        Recorded indices of outlines that no longer exist.
    """

    unchanged: Mapping[int, int]
    edited: Mapping[int, int]
    added: tuple[int, ...]
    deleted: tuple[int, ...]


def match_outlines(then: Sequence[Outline], now: Sequence[Outline]) -> OutlineMatch:
    """Match outlines one to one, first by UUID and shape, then by UUID.

    Identical outlines are matched in order, so an outline that was copied once is found unchanged
    once and added once. An outline with a new UUID was added, even if it has the shape of a deleted
    one, because it does not contain the results.
    """
    free_then, free_now = dict(enumerate(then)), dict(enumerate(now))
    unchanged = _paired(free_then, free_now, lambda outline: outline)
    edited = _paired(free_then, free_now, lambda outline: outline.id)
    return OutlineMatch(
        dict(sorted(unchanged.items())),
        dict(sorted(edited.items())),
        tuple(free_now),
        tuple(free_then),
    )


def _paired(
    then: dict[int, Outline], now: dict[int, Outline], key: Callable[[Outline], object]
) -> dict[int, int]:
    """Remove pairs with the same key from both, in order."""
    places: defaultdict[object, list[int]] = defaultdict(list)
    for place, outline in reversed(then.items()):
        places[key(outline)].append(place)
    pairs = {}
    for place, outline in list(now.items()):
        if same := places.get(key(outline)):
            pairs[place] = same.pop()
            del then[pairs[place]], now[place]
    return pairs
