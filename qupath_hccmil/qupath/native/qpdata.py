"""An image's ``data.qpdata``: the meaning of its stream, as views of the tree."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from qupath_hccmil.errors import UnsupportedDataError
from qupath_hccmil.qupath.bounded_json import parse_json
from qupath_hccmil.qupath.native.garbage_collection import no_collection
from qupath_hccmil.qupath.native.javaclasses import (
    class_name,
    enum_name,
    field,
    map_items,
    text,
)
from qupath_hccmil.qupath.native.javanodes import JavaObject, Part, payload
from qupath_hccmil.qupath.native.javastream import (
    Bytes,
    JavaStream,
    parse,
    require_same,
    serialise,
    write,
)
from qupath_hccmil.qupath.native.pathobjects import walk_unparsed
from qupath_hccmil.qupath.native.run_rules import RUN_RULES
from qupath_hccmil.qupath.qupath_versions import is_newer, newer_note, why_read_only

HEADER = "Data file version "
STEP = "DefaultScriptableWorkflowStep"


class QpData:
    """A parsed ``data.qpdata``.

    Parameters
    ----------
    data : bytes
        The file.

    Attributes
    ----------
    gives_back : bool
        Whether :meth:`write` gives the file byte for byte. False only for a file of a newer QuPath,
        which is then read only; any other file that cannot be written back counts as damaged.

    Raises
    ------
    UnsupportedDataError
        The file is damaged, or contains something that is not understood.
    """

    def __init__(self, data: bytes) -> None:
        self.stream: JavaStream = parse(data, RUN_RULES)
        contents = self.stream.contents
        header = payload(contents[0])[2:] if len(contents) > 1 else b""
        if not header.startswith(HEADER.encode()):
            raise UnsupportedDataError("is not a QuPath data file")
        self.version = header[len(HEADER) :].decode("latin-1")
        self.server_json = text(contents[1]) or ""
        self.gives_back = self._gives_back(data)
        self._hierarchy = self._only("PathObjectHierarchy")
        self._workflow = self._only("Workflow")
        self._check_tree()

    @property
    def qupath_version(self) -> str:
        """Version of the QuPath that wrote the file; empty if the file does not state it."""
        content = self.server
        return str(content.get("qupathVersion") or "") if isinstance(content, dict) else ""

    @property
    def server(self) -> Any:
        """Server of the image according to the file; the text itself if it is not JSON."""
        try:
            return parse_json(self.server_json)
        except ValueError:
            return self.server_json

    @property
    def image_type(self) -> str:
        """QuPath's constant; UNSET if there is none."""
        for part in self.stream.contents:
            if class_name(part) == "ImageData$ImageType":
                return enum_name(part)
        return "UNSET"

    @property
    def root(self) -> Part:
        """Node of the root object."""
        return field(self._hierarchy, "rootObject")

    @property
    def read_only(self) -> str:
        """Why the file is never written; empty if it may be written."""
        return why_read_only(self.version, self.qupath_version, gives_back=self.gives_back)

    @property
    def note(self) -> str:
        """Note for the user on a file that may be written; usually empty."""
        return "" if self.read_only else newer_note(self.version, self.qupath_version)

    def require_writable(self) -> None:
        """Refuse a file that is read only.

        Raises
        ------
        UnsupportedDataError
            The file was written by a QuPath before 0.4, or by one newer than the newest tested
            version and cannot be written back byte for byte.
        """
        if self.read_only:
            raise UnsupportedDataError(self.read_only)

    @property
    def steps(self) -> list[Part]:
        """Steps in the image's history."""
        parts = self._workflow.parts
        # one block has the version and the number of steps
        count = int.from_bytes(payload(parts[0])[4:8], "big")
        if len(payload(parts[0])) != 8 or count != len(parts) - 2:
            raise UnsupportedDataError("contains a workflow in a form that is not known")
        return parts[1:-1]

    @steps.setter
    def steps(self, nodes: list[Part]) -> None:
        head = self._workflow.parts[0]
        if not isinstance(head, bytes):
            raise UnsupportedDataError("contains a workflow in a form that is not known")
        self._workflow.parts[:-1] = [head[:6] + len(nodes).to_bytes(4, "big"), *nodes]

    def to_bytes(self) -> bytes:
        """Return the content of the file."""
        return serialise(self.stream.contents)

    def write(self, sink: Callable[[Bytes], object]) -> None:
        """Pass the content of the file to a function, piece by piece."""
        write(self.stream.contents, sink)

    def digest(self) -> str:
        """Return the SHA-256 of the file, in hex."""
        digest = hashlib.sha256()
        self.write(digest.update)
        return digest.hexdigest()

    def _gives_back(self, data: bytes) -> bool:
        try:
            require_same(self.stream, data)
        except UnsupportedDataError:
            if is_newer(self.version, self.qupath_version):
                return False
            raise
        return True

    @no_collection()
    def _check_tree(self) -> None:
        """Refuse objects that are not understood, and a hierarchy that is not a tree."""
        seen: set[int] = set()
        # unparsed objects are mentioned nowhere else, or they would have been parsed
        for group in walk_unparsed(self.root):
            if group.unparsed:
                continue
            if id(group.view.node) in seen:
                raise UnsupportedDataError("contains an object that is in two places")
            seen.add(id(group.view.node))

    def _only(self, name: str) -> JavaObject:
        found = [part for part in self.stream.contents if class_name(part) == name]
        if len(found) != 1 or not isinstance(found[0], JavaObject):
            raise UnsupportedDataError(f"contains {len(found)} objects of {name}, not one")
        return found[0]


def step_name(step: Part) -> str:
    """Return the name of a scriptable step; empty for other kinds."""
    if class_name(step) != STEP or not isinstance(step, JavaObject):
        return ""
    return text(field(step, "name")) or ""


def step_script(step: JavaObject) -> str:
    """Return the script of a scriptable step."""
    return text(field(step, "script")) or ""


def step_parameters(step: JavaObject) -> dict[str, str]:
    """Return the text parameters of a scriptable step."""
    return {str(text(key)): str(text(value) or "") for key, value in map_items(field(step, "map"))}
