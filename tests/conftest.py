"""Where the tests find the real data and a real QuPath; each absence is a skip with a reason."""

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--logit-noise",
        type=float,
        help="Move every tile logit by up to this, say 1e-5, as another processor would.",
    )
    parser.addoption(
        "--all-qupaths",
        action="store_true",
        help="Run the tests of QuPath's window in every QuPath here, not in the newest alone.",
    )


def pytest_configure(config: pytest.Config) -> None:
    most = config.getoption("--logit-noise")
    if most is not None:
        # torch takes seconds to import, which tests without a network need not wait for.
        from tests.logit_noise import VARIABLE, move_logits

        os.environ[VARIABLE] = str(most)
        move_logits(most)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Let each test begin with torch on one thread, whatever the test before it left.

    Tiny networks train fastest so where tests run side by side, and another number of threads sums
    in another order, which changes the last bits of weights.
    """
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Real slides, projects and training images (see DESIGN §8)."""
    for candidate in (os.environ.get("HCCMIL_TEST_DATA"), ROOT.parent / "shared" / "data"):
        if candidate and Path(candidate).is_dir():
            return Path(candidate).resolve()
    pytest.skip("no real data: set HCCMIL_TEST_DATA or place it at ../shared/data")


@pytest.fixture(scope="session", autouse=True)
def kept_networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of converted networks of this session, so that tests leave the user's own alone."""
    folder = tmp_path_factory.mktemp("kept-networks")
    os.environ["HCCMIL_CACHE"] = str(folder)
    return folder


def qupath_dirs() -> list[Path]:
    """QuPath installations that the tests may use, the one from the environment first."""
    named = os.environ.get("PAQUO_QUPATH_DIR")
    return [Path(named)] if named else sorted(Path("/opt").glob("QuPath-*"))
