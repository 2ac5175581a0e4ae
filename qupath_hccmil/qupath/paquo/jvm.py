"""The user's QuPath: found through paquo's settings, and started once per process."""

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
    # Python handles Ctrl-C, so that partly written files are removed
    "-Xrs",
    # newer versions of Java warn about the native part of JPype on standard error
    "--enable-native-access=ALL-UNNAMED",
)
_CORE_JAR = re.compile(r"qupath-core-(\d+\.\d+\.\d+[^/]*)\.jar")
OLDEST = (0, 5)


@dataclass(frozen=True)
class QuPathInstall:
    """A QuPath installation on this machine.

    Attributes
    ----------
    path : Path
        Folder of its jar files.
    version : str
        Such as ``0.6.0``; empty if its files do not state it.
    """

    path: Path
    version: str


def find_qupath() -> QuPathInstall | None:
    """Look for QuPath where paquo does, without starting Java.

    The environment (``PAQUO_QUPATH_DIR``) and ``.paquo.toml`` come first, then the usual places.

    Returns
    -------
    QuPathInstall or None
        None if no QuPath is found.

    Raises
    ------
    EngineError
        The environment or ``.paquo.toml`` names a folder that is not a QuPath.
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
    """Start Java with the user's QuPath, once per process.

    Returns
    -------
    str
        Version of QuPath.

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
        # errors of Java, JPype and paquo have no common class
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

    Java, and so QuPath, allows such strings, but JPype cannot convert them to Python. Empty for
    null.
    """
    if value is None:
        return ""
    string = value.toString()
    try:
        text = str(string)
    except UnicodeDecodeError:
        text = ""
    # for some halves JPype makes a wrong character without an error
    return (
        text if text.isascii() and text else bytes(string.getBytes("UTF-16BE")).decode("utf-16-be")
    )


def out_of_memory(error: BaseException) -> str:
    """Message for a ``java.lang.OutOfMemoryError``."""
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
    # Standard output is ours; QuPath's warnings go to standard error, its other messages nowhere.
    paquo_java.System.setOut(paquo_java.System.err)
    paquo_java.LogManager.setWarn()
    return str(paquo_java.qupath_version)
