"""Which patient an image is of, and what joining slides means."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qupath_hccmil.errors import DataError
from qupath_hccmil.qupath.data_types import ImageEntry, Server
from qupath_hccmil.qupath.export.patient_of_image import (
    PatientRule,
    patient_by_key,
    patient_by_table,
    sigmoid,
)


def image(name: str = "a.svs", **metadata: str) -> ImageEntry:
    return ImageEntry("1", name, Server("uri", "", ""), metadata)


def test_the_usual_keys_are_found_whatever_their_case() -> None:
    assert patient_by_key()(image(**{"PATIENT id": " P1 "})) == "P1"
    assert patient_by_key()(image(Case="C1", PATIENT="P2")) == "P2"
    assert patient_by_key()(image(**{"patient id": " ", "case": "C1"})) == "C1"
    assert patient_by_key()(image(other="x")) is None


def test_a_named_key_is_the_only_one() -> None:
    assert patient_by_key("Fall")(image(FALL="7", patient="8")) == "7"
    assert patient_by_key("Fall")(image(patient="8")) is None


def test_a_table_gives_the_patient_by_image_name(tmp_path: Path) -> None:
    table = tmp_path / "patients.csv"
    table.write_text(
        "\ufeffPatient,site,Image\nP1,x, a.svs\nP1,x,b.svs\n,x,c.svs\nP1,y,a.svs\n", "utf-8"
    )
    patient_of = patient_by_table(table)
    assert [patient_of(image(name)) for name in ("a.svs", "b.svs", "c.svs", "d.svs")] == [
        "P1",
        "P1",
        None,
        None,
    ]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"slide,patient\na,b\n", "needs the columns image and patient; has: slide, patient"),
        (b"", "needs the columns"),
        (b"image,patient\na,P1\na,P2\n", "line 3: a has two patients, P1 and P2"),
        (b"image,patient\n\xff\xfe,1\n", "not a CSV table in UTF-8"),
    ],
)
def test_a_bad_table_is_one_line(tmp_path: Path, content: bytes, told: str) -> None:
    table = tmp_path / "patients.csv"
    table.write_bytes(content)
    with pytest.raises(DataError, match=told) as error:
        patient_by_table(table)
    assert str(table) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_short_row_has_no_patient(tmp_path: Path) -> None:
    table = tmp_path / "patients.csv"
    table.write_text("image,patient\na\n")
    assert patient_by_table(table)(image("a")) is None


def test_an_absent_table_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        patient_by_table(tmp_path / "no.csv")


@given(
    st.lists(
        st.lists(st.floats(-6, 6), min_size=1, max_size=20),
        min_size=1,
        max_size=4,
    )
)
def test_pooling_equals_the_score_of_all_tiles_as_one_slide(slides: list[list[float]]) -> None:
    def score(tiles: list[float]) -> float:
        m = float(np.mean(np.asarray(tiles) ** 3))
        return float(np.sign(m) * np.abs(m) ** (1 / 3))

    rule = PatientRule("pool", power=3, threshold=0.5)
    pooled = rule.logit([score(tiles) for tiles in slides], [len(tiles) for tiles in slides])
    # the cube root is steep at zero, so m is what has to agree
    everything = [tile for tiles in slides for tile in tiles]
    assert pooled**3 == pytest.approx(score(everything) ** 3, rel=1e-9, abs=1e-9)


def test_other_rules() -> None:
    assert PatientRule("max", 3, 0.5).logit([-1, 2], [10, 1]) == 2
    assert PatientRule("mean", 3, 0.5).logit([-1, 2], [10, 1]) == 0.5
    with pytest.raises(DataError, match="pool, max, mean"):
        PatientRule("median", 3, 0.5)  # type: ignore[arg-type]


def test_group_and_text_say_what_was_done() -> None:
    rule = PatientRule("pool", power=3, threshold=0.4457)
    assert (rule.group(0.4457), rule.group(0.4458)) == ("low", "high")
    assert rule.text.endswith("p=3")


def test_sigmoid_is_exact_enough_and_never_overflows() -> None:
    assert sigmoid(0) == 0.5
    assert sigmoid(1.5) == pytest.approx(1 / (1 + np.exp(-1.5)), rel=1e-15)
    assert (sigmoid(-2000), sigmoid(2000)) == (0, 1)
