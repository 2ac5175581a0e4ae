"""Makes the extension's jar from the files that ship, with the same bytes everywhere.

Its content is in ``extension/jar`` of a checkout and in ``extension/jar`` of an installed
package: the classes that ``make extension`` compiled, Groovy, and the list of menu entries.
"""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path

from qupath_hccmil import __version__
from qupath_hccmil.atomic_files import atomic_file
from qupath_hccmil.errors import InstallError

TITLE = "qupath-hccmil-extension"
_MANIFEST = "META-INF/MANIFEST.MF"
_TIME = (1980, 1, 1, 0, 0, 0)


def jar_name() -> str:
    """File name of this version's jar."""
    return f"{TITLE}-{__version__}.jar"


def jar_bytes() -> bytes:
    """Content of this version's jar.

    It does not depend on the date, the machine or a compression library, so that two jars of the
    same version can be compared byte for byte.

    Raises
    ------
    InstallError
        Files are missing from the installation.
    """
    folder = _source_folder()
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    parts = {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
    manifest = (
        "Manifest-Version: 1.0\r\n"
        f"Implementation-Title: {TITLE}\r\n"
        f"Implementation-Version: {__version__}\r\n\r\n"
    )
    jar = io.BytesIO()
    with zipfile.ZipFile(jar, "w", zipfile.ZIP_STORED) as archive:
        for name, content in {_MANIFEST: manifest.encode(), **parts}.items():
            info = zipfile.ZipInfo(name, _TIME)
            info.create_system = 3
            info.external_attr = 0o644 << 16
            archive.writestr(info, content)
    return jar.getvalue()


def write_jar(folder: Path) -> Path:
    """Write this version's jar into a folder; returns its path.

    Raises
    ------
    InstallError, WriteError
        Files are missing from the installation, or the folder cannot be written.
    """
    path = folder / jar_name()
    with atomic_file(path) as new:
        new.write_bytes(jar_bytes())
    return path


def menu_entries() -> dict[str, str]:
    """Groovy class of each menu entry, by title, in the order of the menu."""
    text = (_source_folder() / "hccmil" / "menu.txt").read_text(encoding="utf-8")
    rows = [line.split("|") for line in text.splitlines() if not line.startswith("#")]
    return {row[0].strip(): row[1].strip() for row in rows if len(row) == 2}


def jar_version(jar: Path) -> str | None:
    """Version of one of our jars; None if it is not ours or cannot be read."""
    try:
        with zipfile.ZipFile(jar) as archive:
            manifest = archive.read(_MANIFEST).decode("utf-8", "replace")
    except (OSError, KeyError, zipfile.BadZipFile):
        return None
    said = dict(line.partition(": ")[::2] for line in manifest.splitlines())
    ours = said.get("Implementation-Title") == TITLE
    return said.get("Implementation-Version") if ours else None


def _source_folder() -> Path:
    package = Path(__file__).resolve().parents[2]
    for folder in (package / "extension" / "jar", package.parent / "extension" / "jar"):
        if (folder / "hccmil").is_dir():
            return folder
    raise InstallError("the files of the QuPath extension are missing; reinstall qupath-hccmil")


if __name__ == "__main__":
    print(write_jar(Path(sys.argv[1])))
