"""A real QuPath window, on a screen of its own, that answers Groovy."""

import ctypes.util
import functools
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import time
import xml.sax.saxutils
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from qupath_hccmil.qupath.extension.java_preferences import xml_file

SERVE = Path(__file__).with_name("serve.groovy")
# Seconds after which nothing is expected any more; a machine may be busy with other things.
START_S, PATIENCE_S = 240, 600
# For a window that runs for a minute, and not alone.
SHORT_RUN = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
# Ends a program when its own standard input does, which it does however the tests end.
KEEPER = '"$@" & program=$!; cat > /dev/null; kill $program; wait $program'


@functools.cache
def why_no_window(qupath: Path) -> str | None:
    """Reason why no window of a QuPath can be opened here; None where it can."""
    app = qupath / "lib" / "app"
    for part in ("qupath-gui-fx-*.jar", "qupath-app-*.jar", "javafx-graphics-*.jar"):
        if not list(app.glob(part)):
            return f"{qupath.name} has no window: {part} is not there"
    if not (qupath / "lib" / "runtime" / "bin" / "java").exists():
        return f"{qupath.name} has no program named java"
    if not shutil.which("Xvfb"):
        return "no Xvfb is installed"
    return None if ctypes.util.find_library("gtk-3") else "GTK 3, which JavaFX needs, is not here"


def node(qupath: Path) -> tuple[str, str]:
    """Where a QuPath keeps its preferences."""
    return "io.github.qupath", ".".join(qupath.name.removeprefix("QuPath-").split(".")[:2])


def prefer(home: Path, qupath: Path, preferences: dict[str, str]) -> None:
    """Set preferences of a QuPath that doesn't run."""
    file = xml_file(home, node(qupath))
    file.parent.mkdir(parents=True)
    quote = xml.sax.saxutils.quoteattr
    entries = "".join(
        f"<entry key={quote(key)} value={quote(value)}/>" for key, value in preferences.items()
    )
    file.write_text(
        '<?xml version="1.0" encoding="UTF-8" standalone="no"?>'
        '<!DOCTYPE map SYSTEM "http://java.sun.com/dtd/preferences.dtd">'
        f'<map MAP_XML_VERSION="1.0">{entries}</map>',
        encoding="utf-8",
    )


class Screen:
    """A screen that nobody sees, with a window manager if one is installed."""

    _manager: subprocess.Popen | None = None

    def __init__(self) -> None:
        # Xvfb chooses a free number and says which
        read, write = os.pipe()
        size = ("-screen", "0", "1600x1000x24")
        server = ("Xvfb", "-displayfd", str(write), *size, "-nolisten", "tcp")
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._server = subprocess.Popen(
            ["sh", "-c", KEEPER, "sh", *server], stdin=subprocess.PIPE, pass_fds=[write], **silent
        )
        os.close(write)
        with os.fdopen(read) as said:
            number = said.readline().strip() if select.select([said], [], [], 60)[0] else ""
        if not number:
            self.close()
            raise RuntimeError("Xvfb did not start")
        self.display = f":{number}"
        if shutil.which("openbox"):
            # ends with the screen
            environment = {**os.environ, "DISPLAY": self.display}
            self._manager = subprocess.Popen(["openbox"], env=environment, **silent)

    def close(self) -> None:
        assert self._server.stdin
        self._server.stdin.close()
        self._server.wait(30)
        if self._manager is not None:
            self._manager.wait(30)


class QuPathWindow:
    """A QuPath that runs with a home folder of its own.

    Parameters
    ----------
    qupath : Path
        The installation.
    home : Path
        New folder for preferences and for `home`/QuPath, its user directory.
    preferences : dict, optional
        QuPath's preferences by their keys.
    java_options : sequence of str, optional
        Options of Java; by default those with which it starts quickly.
    """

    def __init__(
        self,
        qupath: Path,
        home: Path,
        preferences: dict[str, str] | None = None,
        java_options: Sequence[str] = SHORT_RUN,
    ) -> None:
        self.java_options = java_options
        self.qupath = qupath
        self.home = home
        self.version = qupath.name.removeprefix("QuPath-")
        self.user_directory.mkdir(parents=True, exist_ok=True)
        if not xml_file(home, node(qupath)).exists():
            unasked = {"showStartupMessage": "false", "autoUpdateCheck": "NONE"}
            chosen = {"userPath": str(self.user_directory), **unasked, **(preferences or {})}
            prefer(home, qupath, chosen)
        self.log_file = home / "log.txt"
        self._start()

    def _start(self) -> None:
        try:
            self._start_once(START_S / 2)
        except (AssertionError, RuntimeError):
            # now and then a Java or an Xvfb does not start on a busy machine
            self._start_once(START_S)

    def _start_once(self, patience: float) -> None:
        temporary, port = self.home / "tmp", self.home / "port"
        temporary.mkdir(exist_ok=True)
        port.unlink(missing_ok=True)
        app = self.qupath / "lib" / "app"
        self.screen = Screen()
        with self.log_file.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    self.qupath / "lib" / "runtime" / "bin" / "java",
                    *("-Xmx1500m", *self.java_options),
                    # nothing is left outside of its home
                    *("-XX:-UsePerfData", f"-Djava.io.tmpdir={temporary}"),
                    *(f"-Duser.home={self.home}", f"-Djava.util.prefs.userRoot={self.home}"),
                    *("-Dprism.order=sw", f"-Djava.library.path={app}"),
                    *(f"-Dqupath.startup.script={SERVE}", f"-Dhccmil.tests.port={port}"),
                    *("-cp", f"{app}/*", "qupath.QuPath", "--quiet"),
                ],
                env={
                    **os.environ,
                    "DISPLAY": self.screen.display,
                    "HOME": str(self.home),
                    "LC_ALL": "C.UTF-8",
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._wait(port.exists, "QuPath did not start", patience)
        except BaseException:
            self.close()
            raise
        self._port = int(port.read_text())

    @property
    def user_directory(self) -> Path:
        return self.home / "QuPath"

    @property
    def extensions(self) -> Path:
        return self.user_directory / "extensions"

    def log(self) -> str:
        """What QuPath's log says so far."""
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    def ask(self, code: str, **values: Any) -> Any:
        """Run Groovy in the window's thread; what it returns, by way of JSON.

        `qupath` is the window, and classes of the extension can be named. Code that opens a
        dialog and waits for it would wait here too: see :meth:`later`.

        Parameters
        ----------
        code : str
        **values : object
            Variables of the code: texts, numbers, lists.
        """
        given = "".join(
            f"def {name} = new com.google.gson.Gson().fromJson({_groovy(json.dumps(value))},"
            " Object)\n"
            for name, value in values.items()
        )
        # imports come first in Groovy
        lines = code.splitlines()
        imports = [line for line in lines if line.strip().startswith("import ")]
        rest = [line for line in lines if line not in imports]
        with socket.create_connection(("127.0.0.1", self._port), PATIENCE_S) as connection:
            connection.sendall("\n".join((*imports, given, *rest)).encode())
            connection.shutdown(socket.SHUT_WR)
            with connection.makefile("rb") as said:
                answer = json.loads(said.read())
        assert "error" not in answer, answer["error"]
        return answer["value"]

    def later(self, code: str, **values: Any) -> None:
        """Run Groovy in the window's thread without waiting for its end, as a click does.

        If it fails, the next question does.
        """
        self.ask(
            f"""
            def __later = {{ ->
            {code}
            }}
            javafx.application.Platform.runLater {{
                try {{
                    __later()
                }} catch (Throwable error) {{
                    def text = new StringWriter()
                    error.printStackTrace(new PrintWriter(text))
                    System.setProperty('hccmil.tests.failure', text.toString())
                }}
            }}
            null
            """,
            **values,
        )

    def wait_for(self, code: str, **values: Any) -> Any:
        """What Groovy returns as soon as that is true in Groovy's sense."""
        found = None

        def is_there() -> bool:
            nonlocal found
            found = self.ask(code, **values)
            return bool(found)

        self._wait(is_there, f"waited in vain for: {code}")
        return found

    def click(self, title: str) -> None:
        """Choose an entry of the menu *Extensions > HCC-MIL*."""
        self.wait_for(
            """
            def path = qupath.lib.gui.localization.QuPathResources.getString('Menu.Extensions')
            def item = qupath.getMenu(path + '>HCC-MIL', false)?.items?.find { it.text == title }
            if (item == null) return false
            javafx.application.Platform.runLater { item.fire() }
            true
            """,
            title=title,
        )

    def dialogs(self) -> list[dict[str, Any]]:
        """Each window next to QuPath's own: its title, and the text of its labels and buttons."""
        return self.ask(
            """
            import javafx.scene.control.Labeled
            import javafx.scene.control.TextInputControl
            import javafx.stage.Stage
            import javafx.stage.Window
            def shown = Window.windows.findAll { it instanceof Stage && it != qupath.stage }
            shown.collect { stage ->
                def nodes = stage.scene.root.lookupAll('*')
                [title: stage.title,
                 text: nodes.findAll { it instanceof Labeled || it instanceof TextInputControl }
                            .collect { it.text }.findAll { it }.join('\\n'),
                 buttons: nodes.findAll { it instanceof javafx.scene.control.Button }
                               .collect { it.text }]
            }
            """
        )

    def wait_for_dialog(self, text: str) -> dict[str, Any]:
        """The dialog that shows a text, as soon as it is there."""
        found: list[dict[str, Any]] = []

        def is_there() -> bool:
            shown = self.dialogs()
            found[:] = [each for each in shown if text in f"{each['title']}\n{each['text']}"]
            broken = [each["text"] for each in shown if " failed: " in each["text"]]
            assert found or not broken, broken
            return bool(found)

        self._wait(is_there, f"no dialog says: {text}")
        return found[0]

    def press(self, button: str) -> None:
        """Press a button of one of the windows next to QuPath's own, found by its text."""
        self.wait_for(
            """
            import javafx.scene.control.ButtonBase
            import javafx.stage.Window
            def scenes = Window.windows.findAll { it != qupath.stage }.collect { it.scene.root }
            def found = scenes.collectMany { it.lookupAll('*') as List }
                .find { it instanceof ButtonBase && it.text == button && !it.disabled }
            if (found == null) return false
            javafx.application.Platform.runLater { found.fire() }
            true
            """,
            button=button,
        )

    def open(self, project: Path, image: str | None = None) -> None:
        """Open a project, and one of its images by name; unsaved changes before are dropped."""
        self.later(
            """
            qupath.allViewers.each { it.imageData?.setChanged(false) }
            def opened = qupath.lib.projects.ProjectIO.loadProject(
                new File(file), java.awt.image.BufferedImage)
            qupath.setProject(opened)
            if (image != null)
                qupath.openImageEntry(opened.imageList.find { it.imageName == image })
            """,
            file=str(project),
            image=image,
        )
        self.wait_for(
            "qupath.project?.path?.toString() == file && (image == null || "
            "qupath.imageData != null && qupath.project.getEntry(qupath.imageData)?.imageName"
            " == image)",
            file=str(project),
            image=image,
        )

    def screenshot(self, path: Path) -> None:
        """Picture of the whole screen, as PNG."""
        environment = {**os.environ, "DISPLAY": self.screen.display}
        subprocess.run(["import", "-window", "root", path], env=environment, check=True)

    def close(self) -> None:
        """End QuPath and the commands that it runs, as a session's end does, without questions."""
        for how in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, how)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(30)
        self.screen.close()

    def restart(self) -> None:
        """End QuPath, and open it again with what is in its home."""
        self.close()
        self._start()

    def _wait(self, is_so: Any, complaint: str, patience: float = PATIENCE_S) -> None:
        end = time.monotonic() + patience
        while not is_so():
            assert self._process.poll() is None, f"QuPath ended:\n{self.log()[-5000:]}"
            assert time.monotonic() < end, f"{complaint}\n{self.log()[-5000:]}"
            time.sleep(0.1)


def _groovy(text: str) -> str:
    return json.dumps(text, ensure_ascii=True).replace("$", "\\$")
