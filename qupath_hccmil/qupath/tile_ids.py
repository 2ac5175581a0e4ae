"""UUIDs of our tiles, which are the same in every run for the same tile of the same outline."""

from __future__ import annotations

import hashlib
import uuid
from collections import Counter
from collections.abc import Iterable

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
    digests = bytearray()
    # adding 0 turns a negative zero into a positive one
    for x, y, width, height in (np.round(bounds, 3) + 0.0).tolist():
        digest = seed.copy()
        digest.update(f"{kind} {x!r} {y!r} {width!r} {height!r}".encode("ascii"))
        digests += digest.digest()[:16]
    ids = np.frombuffer(digests, dtype=np.uint8).reshape(-1, 16)
    ids[:, 6] = ids[:, 6] & 0x0F | 0x50  # version 5
    ids[:, 8] = ids[:, 8] & 0x3F | 0x80  # the RFC's variant
    return ids


def tile_ids(annotation: str, bounds: NDArray[np.float64], copy: int = 0) -> list[str]:
    """UUIDs of tiles as text; parameters as for :func:`tile_id_bytes`."""
    digits = tile_id_bytes(annotation, bounds, copy).tobytes().hex()
    each = (digits[at : at + 32] for at in range(0, len(digits), 32))
    return [f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}" for h in each]


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
