"""The command line of the tests, and cohorts whose scores are known."""

from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import Cli, cli  # noqa: F401
from tests.tiles_of_interest.scored_projects import Scored, make_project

NATIVE = ("--engine", "native")


@pytest.fixture(scope="session")
def logits() -> list[list[float]]:
    """Of three slides of 8, 12 and 4 tiles; no two alike."""
    generator = np.random.default_rng(3)
    return [generator.normal(shift, 1, n).tolist() for shift, n in ((-1, 8), (0, 12), (1, 4))]


@pytest.fixture(scope="session")
def made_cohort(tmp_path_factory: pytest.TempPathFactory, logits) -> Path:
    """Folder of a project of three scored slides of two patients; tests only read it."""
    images = [
        Scored("a.tif", logits[0], patient="P1", overlapping=True),
        Scored("b.tif", logits[1], patient="P1"),
        Scored("c.tif", logits[2], patient="P2"),
    ]
    return make_project(tmp_path_factory.mktemp("made") / "cohort", images)
