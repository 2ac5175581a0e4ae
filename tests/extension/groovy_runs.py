"""Groovy without a window: the one that a QuPath brings, else that of Debian or of Maven."""

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

from tests.conftest import ROOT, qupath_dirs

JAR = ROOT / "extension" / "jar"
# Beside a Groovy that is no QuPath's, which brings them.
DEBIAN = (Path("/usr/share/java/gson.jar"), Path("/usr/share/java/jts-core.jar"))


@dataclass(frozen=True)
class Groovy:
    """A Java with Groovy on its class path, and QuPath's other classes where it is a QuPath's."""

    name: str
    java: Path
    classpath: str

    @property
    def has_gson_and_jts(self) -> bool:
        """Whether the extension's logic can be run."""
        return "gson" in self.classpath and "jts" in self.classpath

    def scripts(self, *scripts: Path, options: Sequence[str] = ()) -> CompletedProcess[str]:
        """Run scripts, up to the first that fails; they may name classes that need no QuPath."""
        each = "args.each { println it; new GroovyShell().run(new File(it), []) }"
        return self._run(*options, "groovy.ui.GroovyMain", "-c", "UTF-8", "-e", each, *scripts)

    def compile(self, files: list[Path], out: Path) -> CompletedProcess[str]:
        """Compile files that may name each other."""
        return self._run(
            "org.codehaus.groovy.tools.FileSystemCompiler",
            *("--classpath", f"{self.classpath}:{JAR}", "-d", out, *files),
        )

    def _run(self, *arguments: str | Path) -> CompletedProcess[str]:
        # most of the time goes into compiling once what runs once
        quick = ("-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Dfile.encoding=UTF-8")
        return subprocess.run(
            [self.java, *quick, "-cp", f"{self.classpath}:{JAR}", *arguments],
            capture_output=True,
            text=True,
            encoding="utf-8",
        )


def groovys() -> list[Groovy]:
    """Each Groovy that is found."""
    found = [
        Groovy(
            qupath.name, java, ":".join(map(str, sorted((qupath / "lib" / "app").glob("*.jar"))))
        )
        for qupath in qupath_dirs()
        for java in [_java_of(qupath)]
        if java is not None and list((qupath / "lib" / "app").glob("groovy-[0-9]*.jar"))
    ]
    java = shutil.which("java")
    if found or java is None:
        return found
    maven = Path.home() / ".m2" / "repository" / "org" / "apache" / "groovy" / "groovy"
    jars = [*sorted(maven.glob("[45]*/groovy-*[0-9].jar")), Path("/usr/share/java/groovy.jar")]
    beside = [path for path in DEBIAN if path.exists()]
    return [
        Groovy(jar.stem, Path(java), ":".join(map(str, [jar, *beside])))
        for jar in jars
        if jar.exists()
    ][:1]


def _java_of(qupath: Path) -> Path | None:
    java = qupath / "lib" / "runtime" / "bin" / "java"
    if java.exists():
        return java
    other = shutil.which("java")
    return Path(other) if other else None
