"""The one tree of errors that a user may see: each message is one line that says what to do.

The command line prints the message and exits with code 1; anything else that escapes is a bug.
"""


class HccMilError(Exception):
    """Bad input or a bad environment. The message names the file, the value and what to do."""


def one_line(error: BaseException) -> str:
    """What to print of an error: its message, or of one that is not ours what it is."""
    if isinstance(error, HccMilError):
        return str(error)
    if isinstance(error, OSError):
        # No space, no permission: the system's own words, and of which file.
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}"
    if isinstance(error, MemoryError):
        return "not enough memory; close other programs, or use a computer with more"
    kind, said = type(error).__name__, " ".join(str(error).split())
    # errors of Java begin with their own name
    detail = said if said.startswith(kind) else f"{kind}: {said}"
    return f"unexpected {detail[:300]} (run again with --debug and report it)"


class ProjectError(HccMilError):
    """A QuPath project cannot be used: not a project, damaged, or of an unknown version."""


class UnsupportedDataError(ProjectError):
    """A QuPath file holds something that is not understood, so it is never written."""


class WriteError(ProjectError):
    """A project could not be written; it is as it was before."""


class ConflictError(WriteError):
    """The image's data changed between our read and our write; nothing was written."""


class EngineError(HccMilError):
    """The asked-for engine cannot run here (no QuPath, no Java)."""


class SlideError(HccMilError):
    """A slide is not an image, is truncated or cannot be read."""


class SlideMissingError(SlideError):
    """A slide is not where the project says it is."""


class ResolutionError(SlideError):
    """The pixel size is absent or outside the accepted range."""


class AnnotationError(HccMilError):
    """There is no usable tumour annotation: none of the class, empty, or too small for a tile."""


class ModelError(HccMilError):
    """A model folder is incomplete, does not follow its schema, or has the wrong hash."""


class DataError(HccMilError):
    """A training, evaluation or clinical table cannot be used."""


class InstallError(HccMilError):
    """The QuPath extension can't be installed or removed here."""
