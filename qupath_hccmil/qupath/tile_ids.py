"""UUIDs of our tiles, which are the same in every run for the same tile of the same outline."""

from __future__ import annotations

import hashlib
import uuid
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray


def tile_id_bytes(annotation: str, bounds: NDArray[np.float64], copy: int = 0) -> NDArray[np.uint8]:
    """Compute UUIDs of tiles as bytes.

    Parameters
    ----------
    annotation : str
        UUID of their annotation.
    bounds : (n, 4) float64
        x, y, width, height in level-0 px, used to a thousandth of a px: QuPath stores the corners
        of a rectangle, from which its sides are read back with rounding.
    copy : int
        See :func:`copies`.

    Returns
    -------
    (n, 16) uint8
        Version 5 (RFC 4122) in the annotation's namespace, as :func:`uuid.uuid5` gives it, but five
        times faster.
    """
    seed = hashlib.sha1(uuid.UUID(annotation).bytes, usedforsecurity=False)
    kind = "HCC-MIL tile" if not copy else f"HCC-MIL tile of copy {copy}"
    seed.update(kind.encode("ascii"))
    digests = bytearray()
    # adding 0 turns a negative zero into a positive one
    for texts in zip(*map(_texts, (np.round(bounds, 3) + 0.0).T), strict=True):
        digest = seed.copy()
        digest.update(b"".join(texts))
        digests += digest.digest()[:16]
    ids = np.frombuffer(digests, dtype=np.uint8).reshape(-1, 16)
    ids[:, 6] = ids[:, 6] & 0x0F | 0x50  # version 5
    ids[:, 8] = ids[:, 8] & 0x3F | 0x80  # the RFC's variant
    return ids


def _texts(numbers: NDArray[np.float64]) -> list[bytes]:
    """Each number as Python prints it, behind a space; most tiles share theirs with others."""
    different, which = np.unique(numbers, return_inverse=True)
    texts = [f" {number!r}".encode("ascii") for number in different.tolist()]
    return [texts[place] for place in which.tolist()]


def tile_id_texts(annotation: str, bounds: NDArray[np.float64], copy: int = 0) -> NDArray[np.uint8]:
    """UUIDs of tiles as text in ASCII, (n, 36) uint8; parameters as for :func:`tile_id_bytes`."""
    digits = tile_id_bytes(annotation, bounds, copy).tobytes().hex().encode("ascii")
    table = np.frombuffer(digits, np.uint8).reshape(-1, 32)
    texts = np.full((len(table), 36), ord("-"), np.uint8)
    for place, (first, last) in enumerate(pairwise((0, 8, 12, 16, 20, 32))):
        texts[:, first + place : last + place] = table[:, first:last]
    return texts


def tile_ids(annotation: str, bounds: NDArray[np.float64], copy: int = 0) -> list[str]:
    """UUIDs of tiles as text; parameters as for :func:`tile_id_bytes`."""
    texts = tile_id_texts(annotation, bounds, copy)
    found: list[str] = texts.view("S36").ravel().astype(str).tolist()
    return found


def copies(ids: Iterable[str]) -> list[int]:
    """For each annotation, the number of earlier ones with the same UUID; 0 except for copies.

    Parameters
    ----------
    ids : iterable of str
        UUIDs of all annotations of the image, in QuPath's order.
    """
    seen: Counter[str] = Counter()
    found = []
    for each in ids:
        found.append(seen[each])
        seen[each] += 1
    return found
