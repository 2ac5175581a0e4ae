"""The user's QuPath: found through paquo's settings, and started once a process, quietly."""

from __future__ import annotations

import importlib
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qupath_hccmil.errors import EngineError

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
        raise EngineError(f"{wanted['qupath_dir']}: is not a QuPath; {HOW_TO_POINT}") from error
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


def version_number(version: str) -> tuple[int, int]:
    """Major and minor of a version such as ``0.6.0`` or ``v0.5.0-rc1``; (0, 0) where it is none.

    Examples
    --------
    >>> version_number("0.6.0-SNAPSHOT")
    (0, 6)
    """
    match = re.match(r"v?(\d+)\.(\d+)", version)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def java(name: str) -> Any:
    """Java class by its full name; QuPath must have been started."""
    import jpype

    return jpype.JClass(name)


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
