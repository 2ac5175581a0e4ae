"""The entries of the extension's menu as scripts of a project, for users without the extension.

QuPath lists them under *Automate > Project scripts > HCC-MIL*. The jar is next to them, so they
also work in a QuPath without the extension.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from qupath_hccmil.atomic_files import atomic_file
from qupath_hccmil.errors import WriteError
from qupath_hccmil.held_files import remove
from qupath_hccmil.qupath.extension.installation import install, uninstall
from qupath_hccmil.qupath.extension.jar import jar_name, menu_entries
from qupath_hccmil.qupath.qpproj import project_file

FOLDER = "HCC-MIL"
_MARK = "// Made by qupath-hccmil; `qupath-hccmil qupath install --project` makes it again."
_SCRIPT = """{mark}
// Press Run. The extension's own menu does the same: Extensions > HCC-MIL.
def window = qupath.lib.gui.QuPathGUI.getInstance().getStage().getProperties()
def loader = window.get("hccmil.loader")
def started = null
if (loader == null) {{
    def folder = buildFilePath(PROJECT_BASE_DIR, "scripts", "{folder}")
    loader = new GroovyClassLoader(getClass().getClassLoader())
    loader.addURL(new File(folder, "{jar}").toURI().toURL())
    window.put("hccmil.loader", loader)
    started = "hccmil.Start"
}}
[started, "{entry}"].findAll {{ it }}.each {{ name ->
    def action
    // The menu's entries take this lock first, too: another order could end in a deadlock.
    synchronized (loader) {{ action = loader.loadClass(name).getConstructor().newInstance() }}
    javafx.application.Platform.runLater(action)
}}
"""


def install_scripts(project: Path) -> Path:
    """Write the scripts and the jar into a project; files that are not ours are kept.

    Parameters
    ----------
    project : Path
        The project's folder or its ``.qpproj``.

    Returns
    -------
    Path
        Folder of the scripts.

    Raises
    ------
    ProjectError
        `project` is not a project.
    WriteError
        A file with the name of a script is not ours, or the folder cannot be written.
    """
    folder = _folder(project)
    scripts = {
        folder / _file_name(title): _SCRIPT.format(
            mark=_MARK, folder=FOLDER, jar=jar_name(), entry=class_name
        )
        for title, class_name in menu_entries().items()
    }
    for path in scripts:
        if path.exists() and not _is_ours(path):
            raise WriteError(f"{path}: is not one of our scripts; rename it. Nothing was changed")
    install(folder)
    _remove_others(folder, scripts)
    for path, text in scripts.items():
        with atomic_file(path) as new:
            new.write_text(text, encoding="utf-8")
    return folder


def uninstall_scripts(project: Path) -> list[Path]:
    """Remove our scripts and our jar from a project; returns the removed files."""
    folder = _folder(project)
    removed = [*_remove_others(folder, {}), *uninstall(folder)]
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
    return removed


def _folder(project: Path) -> Path:
    return project_file(project).parent / "scripts" / FOLDER


def _remove_others(folder: Path, scripts: Mapping[Path, str]) -> list[Path]:
    others = [path for path in sorted(folder.glob("*.groovy")) if path not in scripts]
    ours = [path for path in others if _is_ours(path)]
    for path in ours:
        remove(path)
    return ours


def _is_ours(path: Path) -> bool:
    try:
        return path.read_text(encoding="utf-8").startswith(_MARK)
    except (OSError, UnicodeDecodeError):
        return False


def _file_name(title: str) -> str:
    # QuPath shows the name up to its last dot
    return re.sub(r"[^\w -]", "", title).strip() + ".groovy"
