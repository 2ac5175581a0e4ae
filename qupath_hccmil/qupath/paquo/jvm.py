"""The user's QuPath: found through paquo's settings, and started once a process, quietly."""

from __future__ import annotations

import importlib
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qupath_hccmil.errors import EngineError
from qupath_hccmil.qupath.qupath_versions import version_number

HOW_TO_POINT = "set PAQUO_QUPATH_DIR to the folder of QuPath 0.5 or newer, or use --engine native"

_JAVA_OPTIONS = (
    # Ctrl-C is Python's: files that are half written get removed
    "-Xrs",
    # newer Javas warn about the native part of JPype on standard error
    "--enable-native-access=ALL-UNNAMED",
)
_CORE_JAR = re.compile(r"qupath-core-(\d+\.\d+\.\d+[^/]*)\.jar")
OLDEST = (0, 5)


@dataclass(frozen=True)
class QuPathInstall:
    """A QuPath on this machine.

    Attributes
    ----------
    path : Path
        Folder of its jar files.
    version : str
        Such as ``0.6.0``; empty where its files don't tell.
    """

    path: Path
    version: str


def find_qupath() -> QuPathInstall | None:
    """Look for QuPath where paquo looks; starts no Java.

    The environment (``PAQUO_QUPATH_DIR``) and ``.paquo.toml`` come first, then the usual places.

    Returns
    -------
    QuPathInstall or None
        None where there is none.

    Raises
    ------
    EngineError
        The environment or ``.paquo.toml`` names a folder that is no QuPath.
    """
    from paquo._config import settings, to_kwargs
    from paquo.jpype_backend import find_qupath as paquo_find_qupath

    wanted = to_kwargs(settings)
    try:
        app_dir = paquo_find_qupath(**wanted)[0]
    except ValueError:
        return None
    except OSError as error:
        raise EngineError(
            f"{wanted['qupath_dir']}: is not a QuPath folder; {HOW_TO_POINT}"
        ) from error
    versions = [match[1] for jar in app_dir.glob("*.jar") if (match := _CORE_JAR.match(jar.name))]
    return QuPathInstall(app_dir, versions[0] if versions else "")


def start_qupath() -> str:
    """Start the Java of the user's QuPath, once a process.

    Returns
    -------
    str
        QuPath's version.

    Raises
    ------
    EngineError
        There is no QuPath, it is too old, or its Java does not start.
    """
    install = find_qupath()
    if install is None:
        raise EngineError(f"no QuPath was found; {HOW_TO_POINT}")
    try:
        version = _start()
    except Exception as error:
        # what Java, JPype or paquo raise here has no common class
        reason = " ".join(str(error).split())
        raise EngineError(
            f"{install.path}: QuPath does not start ({reason}); {HOW_TO_POINT}"
        ) from error
    if version_number(version) < OLDEST:
        raise EngineError(f"{install.path}: QuPath {version} is too old; {HOW_TO_POINT}")
    return version


def java(name: str) -> Any:
    """Java class by its full name; QuPath must have been started."""
    import jpype

    return jpype.JClass(name)


def text_of(value: Any) -> str:
    """Text of a Java string or object; half a surrogate pair becomes a replacement character.

    Java, and so QuPath, keeps such a string, and JPype cannot make one of Python of it. Empty
    for null.
    """
    if value is None:
        return ""
    string = value.toString()
    try:
        text = str(string)
    except UnicodeDecodeError:
        text = ""
    # of some halves JPype makes a wrong character without an error
    return (
        text if text.isascii() and text else bytes(string.getBytes("UTF-16BE")).decode("utf-16-be")
    )


def out_of_memory(error: BaseException) -> str:
    """What to say of a ``java.lang.OutOfMemoryError``."""
    reason = " ".join(str(error).split())
    return (
        f"Java ran out of memory ({reason}); give it more, for example with "
        "PAQUO_JAVA_OPTS=-Xmx12g, or use --engine native"
    )


def _start() -> str:
    import jpype
    from paquo._config import settings, to_kwargs

    if not jpype.isJVMStarted():
        options = to_kwargs(settings)["java_opts"]
        options = shlex.split(options) if isinstance(options, str) else list(options)
        settings.set("java_opts", [*options, *(o for o in _JAVA_OPTIONS if o not in options)])
    paquo_java = importlib.import_module("paquo.java")
    # standard output is ours: QuPath's warnings go beside it, its chatter nowhere
    paquo_java.System.setOut(paquo_java.System.err)
    paquo_java.LogManager.setWarn()
    return str(paquo_java.qupath_version)
