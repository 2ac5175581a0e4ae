"""Which patient an image is of."""

from pathlib import Path

import pytest

from qupath_hccmil.errors import DataError
from qupath_hccmil.qupath.data_types import ImageEntry, Server
from qupath_hccmil.qupath.export.patient_of_image import (
    patient_by_key,
    patient_by_table,
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
        (
            b"slide,patient\na,b\n",
            "no column 'image' for the image; its columns: 'slide', 'patient'",
        ),
        (b"", "the file is empty"),
        (b"image,patient\na,P1\na,P2\n", "a has two patients, P1 and P2"),
        (b"image,patient\n\x81,1\n", "is not UTF-8, UTF-16 or Windows-1252"),
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
    with pytest.raises(DataError, match="no such file"):
        patient_by_table(tmp_path / "no.csv")


@pytest.mark.parametrize(
    "content",
    ["sep=;\nimage;patient\nmü.svs;P1\nx.svs;P2\n", "Image\tPatient\nmü.svs\tP1\nx.svs\tP2\n"],
)
@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "utf-16"])
def test_reads_what_the_other_commands_read(tmp_path: Path, content: str, encoding: str) -> None:
    table = tmp_path / "patients.txt"
    table.write_bytes(content.encode(encoding))
    patients = patient_by_table(table)
    assert patients(image("mu\u0308.svs")) == "P1"
    assert patients.unmatched(["mü.svs", "b.svs"]) == ["x.svs"]
