"""All errors that a user may see; each message is one line that says what to do.

The command line prints the message and exits with code 1; anything else that escapes is a bug.
"""


class HccMilError(Exception):
    """Bad input or a bad environment. The message gives the file, the value and what to do."""


def one_line(error: BaseException) -> str:
    """Return the line to print for an error: its message, or a description of a foreign error."""
    if isinstance(error, HccMilError):
        return str(error)
    if isinstance(error, OSError):
        # No space, no permission: the system's own message, with the file.
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}"
    if isinstance(error, MemoryError):
        return "not enough memory; close other programs, or use a computer with more"
    kind, message = type(error).__name__, " ".join(str(error).split())
    # Messages of Java errors already begin with the name of the error.
    detail = message if message.startswith(kind) else f"{kind}: {message}"
    return f"unexpected {detail[:300]} (run again with --debug, and please report it)"


class ProjectError(HccMilError):
    """A QuPath project cannot be used: not a project, damaged, or of an unknown version."""


class UnsupportedDataError(ProjectError):
    """A QuPath file contains something that is not understood, so it is never written."""


class WriteError(ProjectError):
    """A project could not be written and is unchanged."""


class ConflictError(WriteError):
    """The data of an image changed between our read and our write; nothing was written."""


class EngineError(HccMilError):
    """The requested engine cannot run here (no QuPath, no Java)."""


class PackageError(HccMilError):
    """A package that only some need is asked for and not installed."""


class ClusterError(HccMilError):
    """A Dask cluster cannot be used: no scheduler, no worker of this version, a wrong file."""


class SlideError(HccMilError):
    """A slide is not an image, is truncated, or cannot be read."""


class SlideMissingError(SlideError):
    """A slide is not where the project says it is."""


class ResolutionError(SlideError):
    """The pixel size is missing or outside the accepted range."""


class AnnotationError(HccMilError):
    """No tumour annotation is usable: none has the class, or all are empty or too small."""


class ModelError(HccMilError):
    """A model folder is incomplete, does not follow its schema, or has the wrong hash."""


class DataError(HccMilError):
    """A training, evaluation or clinical table cannot be used."""


class FeatureFileError(DataError):
    """A file of features cannot be used: it is damaged, or of an unknown layout."""


class InstallError(HccMilError):
    """The QuPath extension can't be installed or removed here."""
