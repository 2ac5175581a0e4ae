"""Settings from TOML: what is read, and one line for what is wrong."""

from dataclasses import fields

import numpy as np
import pytest

from qupath_hccmil.errors import DataError
from qupath_hccmil.scoring.score_settings import ScoreSettings, settings_toml
from qupath_hccmil.settings_file import checked, read_settings


def read(tmp_path, text):
    path = tmp_path / "s.toml"
    path.write_text(text, encoding="utf-8")
    return read_settings(path, ScoreSettings)


def test_what_stands_in_the_file_is_read_and_nothing_else(tmp_path):
    text = '# ours\nannotation_classes = ["Läsion"]\nmpp = 1\nstain = "staintools"\n'
    found = read(tmp_path, text)
    assert found == {"annotation_classes": ("Läsion",), "mpp": 1.0, "stain": "staintools"}
    assert read(tmp_path, "") == {}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "min_insid = 0.5",
            r"unknown key 'min_insid'; known keys: annotation_classes, ",
        ),
        ("min_inside = 2.0", "min_inside: '2.0': Input should be less than or equal to 1"),
        ("min_inside = nan", "min_inside: "),
        ("mpp = 0", "mpp: '0': Input should be greater than 0"),
        ("max_tiles = 0", "max_tiles: '0': Input should be greater than or equal to 1"),
        ("max_tiles = true", "max_tiles: 'True': Input should be a valid integer"),
        ("seed = '3'", "seed: '3': Input should be a valid integer"),
        ("seed = 2026-01-01", "seed: '2026-01-01': Input should be a valid integer"),
        ("stain = 'macenko'", "stain: 'macenko': Input should be 'vahadane' or 'staintools'"),
        ("annotation_classes = []", "annotation_classes: .* at least 1 item"),
        ("annotation_classes = 'Tumor'", "annotation_classes: 'Tumor': Input should be a valid"),
        ("[annotation_classes]", "annotation_classes: "),
        ("mpp", "is not valid TOML: "),
    ],
)
def test_a_wrong_key_or_value_is_one_line(tmp_path, text, told):
    with pytest.raises(DataError, match=told) as found:
        read(tmp_path, text)
    assert str(found.value).startswith(f"{tmp_path / 's.toml'}: ")
    assert "\n" not in str(found.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.toml: cannot be read: No such file"):
        read_settings(tmp_path / "none.toml", ScoreSettings)
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(DataError, match=r"folder\.toml: cannot be read: "):
        read_settings(tmp_path / "folder.toml", ScoreSettings)
    (tmp_path / "latin.toml").write_bytes('annotation_classes = ["Läsion"]'.encode("latin-1"))
    with pytest.raises(DataError, match=r"latin\.toml: is not valid TOML"):
        read_settings(tmp_path / "latin.toml", ScoreSettings)


def test_an_editors_mark_of_utf_8_is_no_fault(tmp_path):
    (tmp_path / "s.toml").write_text("seed = 3", encoding="utf-8-sig")
    assert read_settings(tmp_path / "s.toml", ScoreSettings) == {"seed": 3}


def test_numbers_of_numpy_are_numbers():
    given = {"seed": np.int64(3), "mpp": np.float64(0.25), "min_inside": np.float32(0.5)}
    assert checked(ScoreSettings, given, "here") == {"seed": 3, "mpp": 0.25, "min_inside": 0.5}


def test_settings_are_written_as_a_file_that_gives_them_back(tmp_path):
    settings = ScoreSettings(
        mpp=0.1 + 0.2, min_inside=1e-7, max_tiles=9, seed=7, stain="staintools",
        annotation_classes=('a "quoted" \\ name', "Läsion\t\x7f\n"),
    )  # fmt: skip
    for each in (settings, ScoreSettings()):
        assert ScoreSettings(**read(tmp_path, settings_toml(each))) == each
    assert {field.name for field in fields(ScoreSettings)} == read(
        tmp_path, settings_toml(settings)
    ).keys()
