"""One small drawn slide for all tests of this folder."""

from pathlib import Path

import pytest

from qupath_hccmil.demo.drawn import DrawnSlide, draw_slide


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> DrawnSlide:
    path: Path = tmp_path_factory.mktemp("drawn") / "small.tif"
    return draw_slide(path, width=2050, height=1610, seed=3)
