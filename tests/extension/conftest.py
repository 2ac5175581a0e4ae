"""QuPath's windows, each opened once a session, with the extension in them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from qupath_hccmil.qupath.extension.jar import jar_bytes, jar_name
from tests.conftest import qupath_dirs
from tests.extension.window import QuPathWindow, why_no_window


def window_dirs() -> list[Path]:
    """The oldest and the newest QuPath whose window can be opened here."""
    found = [folder for folder in qupath_dirs() if why_no_window(folder) is None]
    return found if len(found) < 3 else [found[0], found[-1]]


@pytest.fixture(
    scope="session",
    params=window_dirs() or [None],
    ids=lambda folder: folder.name if folder else "none",
)
def window(request, tmp_path_factory) -> Iterator[QuPathWindow]:
    """An open QuPath of each version in turn, with the extension installed and no project."""
    if request.param is None:
        reasons = {why_no_window(folder) for folder in qupath_dirs()}
        pytest.skip("; ".join(sorted(filter(None, reasons))) or "no QuPath: see CONTRIBUTING.md")
    # a home folder as people have them
    home = tmp_path_factory.mktemp("home") / "Müller, Ärztin"
    extensions = home / "QuPath" / "extensions"
    extensions.mkdir(parents=True)
    (extensions / jar_name()).write_bytes(jar_bytes())
    opened = QuPathWindow(request.param, home)
    yield opened
    opened.close()
