"""What a slide's result depends on, and the file name that follows from it.

Two runs that would find the same result give it the same name; where anything that changes numbers
is another, so is the name. What is there under its name is therefore not done again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from qupath_hccmil.atomic_files import file_name
from qupath_hccmil.qupath.data_types import ImageEntry, Server
from qupath_hccmil.qupath.fingerprint import annotation_fingerprint
from qupath_hccmil.results.slide_stamp import slide_stamp
from qupath_hccmil.scoring.destination import SlideRequest
from qupath_hccmil.scoring.versions import release_versions

if TYPE_CHECKING:
    from qupath_hccmil.scoring.scorer import ScorerSource

SUFFIX = ".parquet"
_HASH_DIGITS = 16


@dataclass(frozen=True)
class Dependencies:
    """All that a result follows from, as plain data for JSON.

    Attributes
    ----------
    entry : mapping
        ID and name of the project's entry.
    outlines : str
        Fingerprint of the tumour outlines.
    server : mapping
        How QuPath shows the slide: URI, arguments, size, pixel size, views.
    slide : mapping
        Number, bytes and time of the slide's files.
    model : str
        Identity of the risk model, which names its nuclei model in turn.
    settings : mapping
    precision : str
        Of the nuclei network: ``f32`` or ``bf16``. The tile network's is always f32.
    versions : mapping of str to str
        This package, and the libraries that change numbers.
    """

    entry: Mapping[str, str]
    outlines: str
    server: Mapping[str, Any]
    slide: Mapping[str, int]
    model: str
    settings: Mapping[str, Any]
    precision: str
    versions: Mapping[str, str]

    @property
    def file_name(self) -> str:
        """Name of the result's file: entry, image and a hash of everything here."""
        text = json.dumps(asdict(self), sort_keys=True)
        digits = hashlib.sha256(text.encode()).hexdigest()[:_HASH_DIGITS]
        return f"{stem_of(self.entry['id'], self.entry['name'])}-{digits}{SUFFIX}"


def dependencies(request: SlideRequest, models: ScorerSource) -> Dependencies:
    """What the result of a request depends on; the networks need not be loaded for it.

    Raises
    ------
    OSError
        The slide's file cannot be read.
    ModelError
        The device or runtime is not available here.
    """
    entry = request.state.entry
    return Dependencies(
        entry={"id": entry.id, "name": entry.name},
        outlines=annotation_fingerprint(request.annotations),
        server=server_facts(entry.server),
        slide=asdict(slide_stamp(request.slide)),
        model=models.identity,
        settings=asdict(request.settings),
        precision=models.precision,
        versions=release_versions(),
    )


def server_facts(server: Server) -> dict[str, Any]:
    """How QuPath shows a slide, as JSON gives it back."""
    facts: dict[str, Any] = json.loads(json.dumps(asdict(server)))
    return facts


def stem_of(identity: str, name: str) -> str:
    """Beginning of the names of all results of an image."""
    return f"{identity}-{file_name(name)}"


def stem_of_entry(entry: ImageEntry) -> str:
    """Beginning of the names of all results of an entry."""
    return stem_of(entry.id, entry.name)


def stem_in_name(name: str) -> str | None:
    """Beginning of a result's file name; None where it is no such name."""
    stem, dash, digits = name.removesuffix(SUFFIX).rpartition("-")
    is_result = name.endswith(SUFFIX) and dash and len(digits) == _HASH_DIGITS
    return stem if is_result else None
