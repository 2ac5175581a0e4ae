"""A seed that no generator takes is refused before anything is read or written."""

import pytest

from qupath_hccmil.errors import DataError
from qupath_hccmil.heads.head_settings import HeadSettings
from qupath_hccmil.mil.risk_training import MilSettings
from qupath_hccmil.nuclei.nuclei_training import NucleiSettings
from qupath_hccmil.scoring.score_settings import ScoreSettings
from qupath_hccmil.settings_file import read_settings
from qupath_hccmil.survival.analysis_settings import Settings


@pytest.mark.parametrize(
    "command",
    [
        ("train", "mil", "HERE", "HERE", "--out", "new"),
        ("train", "nuclei", "HERE", "HERE", "--out", "new"),
        ("evaluate", "mil", "HERE", "HERE"),
        ("features", "HERE", "--out", "new"),
        ("score", "HERE"),
        ("survival", "HERE", "HERE", "--out", "new"),
    ],
)
def test_a_negative_seed_is_one_line(cli, tmp_path, command):
    words = [{"HERE": tmp_path, "new": tmp_path / "new"}.get(word, word) for word in command]
    ran = cli(*words, "--seed", -1)
    assert ran.code == 2
    assert "Invalid value for '--seed': -1 is not in the range x>=0" in ran.err
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("kind", [HeadSettings, MilSettings, NucleiSettings, ScoreSettings])
def test_a_negative_seed_in_a_file_names_the_file(tmp_path, kind):
    path = tmp_path / "settings.toml"
    path.write_text("seed = -1\n")
    with pytest.raises(DataError, match=r"settings.toml.*seed"):
        read_settings(path, kind)


def test_a_negative_seed_of_an_analysis_is_refused():
    with pytest.raises(DataError, match="the seed must be 0 or more"):
        Settings(time="time", event="event", seed=-1).check()
