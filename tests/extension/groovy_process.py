"""The extension's Groovy without a window: its logic, by the Groovy of a QuPath or of Debian."""

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.extension.groovy_runs import JAR, Groovy, groovys

ANSWER = Path(__file__).with_name("answer.groovy")


class ProblemError(Exception):
    """The extension refused something with a line for the user."""


def groovies() -> list[Groovy]:
    """The oldest and the newest Groovy here that has Gson and JTS next to it, as QuPath's has."""
    found = [each for each in groovys() if each.has_gson_and_jts]
    return found if len(found) < 3 else [found[0], found[-1]]


class GroovyProcess:
    """A Java that runs Groovy with the extension's classes."""

    def __init__(self, groovy: Groovy) -> None:
        self._process = subprocess.Popen(
            [
                *(groovy.java, "-XX:TieredStopAtLevel=1", "-Dfile.encoding=UTF-8"),
                *("-cp", f"{groovy.classpath}:{JAR}", "groovy.ui.GroovyMain", ANSWER),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )

    def __call__(self, code: str, **values: Any) -> Any:
        """What the last statement gives; imports the package.

        Raises
        ------
        ProblemError
            With the line for the user, where the code ends in a ``Problem``.
        """
        assert self._process.stdin
        assert self._process.stdout
        asked = {"code": f"import hccmil.*\n{code}", "values": values}
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if answer.get("type") == "Problem":
            raise ProblemError(answer["message"])
        assert "error" not in answer, answer["error"]
        return answer["value"]

    def close(self) -> None:
        self._process.communicate(timeout=60)
