"""The extension's Groovy without a window: its logic, by the Groovy of a QuPath or of Debian."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests.conftest import qupath_dirs

SOURCE = Path(__file__).parents[2] / "extension" / "jar"
ANSWER = Path(__file__).with_name("answer.groovy")
DEBIAN = Path("/usr/share/java")
PARTS = ("groovy-", "gson-", "jts-core-")


class TroubleError(Exception):
    """The extension refused something with a line for the user."""


def groovies() -> dict[str, tuple[str, list[Path]]]:
    """Java and jars of each Groovy here: those of the oldest and newest QuPath, or Debian's."""
    found: dict[str, tuple[str, list[Path]]] = {}
    for folder in qupath_dirs():
        java = folder / "lib" / "runtime" / "bin" / "java"
        jars = [
            each for each in (folder / "lib" / "app").glob("*.jar") if each.name.startswith(PARTS)
        ]
        if java.exists() and any(each.name.startswith("groovy-") for each in jars):
            found[folder.name] = (str(java), jars)
    if len(found) > 2:
        found = {name: found[name] for name in (min(found), max(found))}
    debian = [DEBIAN / name for name in ("groovy-all.jar", "gson.jar", "jts-core.jar")]
    java = shutil.which("java")
    if not found and java and all(each.exists() for each in debian):
        found["Debian"] = (java, debian)
    return found


class GroovyProcess:
    """A Java that runs Groovy with the extension's classes."""

    def __init__(self, java: str, jars: list[Path]) -> None:
        path = os.pathsep.join(map(str, [*jars, SOURCE]))
        self._process = subprocess.Popen(
            [java, "-XX:TieredStopAtLevel=1", "-cp", path, "groovy.ui.GroovyMain", str(ANSWER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            env={**os.environ, "LC_ALL": "C.UTF-8"},
        )

    def __call__(self, code: str, **values: Any) -> Any:
        """What the last statement gives; imports the package.

        Raises
        ------
        TroubleError
            With the line for the user, where the code ends in a ``Trouble``.
        """
        assert self._process.stdin
        assert self._process.stdout
        asked = {"code": f"import hccmil.*\n{code}", "values": values}
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if answer.get("type") == "Trouble":
            raise TroubleError(answer["message"])
        assert "error" not in answer, answer["error"]
        return answer["value"]

    def close(self) -> None:
        self._process.communicate(timeout=60)
